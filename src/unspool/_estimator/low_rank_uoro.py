from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count
from .._reduce_rank import reduce_by_signs
from .._small_svd import orthonormalize
from .cut import AbstractCut, StateCut
from .influence import AbstractInfluence, AbstractSketch


class LowRank(AbstractSketch):
    """The product of two matrices with a few columns: trees of workers x columns."""

    rank: int
    num_probes: int
    cut: AbstractCut

    def view(self, engine):
        return self.cut.view(engine)

    def blank(self, state, params):
        num_workers = jax.tree.leaves(state)[0].shape[0]
        blank = rows.zeros_like(state), rows.repeat(rows.zeros_like(params), num_workers)
        return jax.vmap(lambda x: rows.repeat(x, self.rank))(blank)

    def pull(self, sketch, cotangent, params):
        left, right = sketch
        along = lambda state, influence: rows.scale(rows.dot(state, cotangent), influence)
        pulled = jax.vmap(along, in_axes=1, out_axes=1)(left, right)
        return jax.tree.map(lambda x: jnp.sum(x, axis=1), pulled)

    def push(self, sketch, step, keys, params):
        left, right = sketch
        old = jax.vmap(lambda column: step.forward(column, None), in_axes=1, out_axes=1)(left)
        variable = self.cut.variable(*jax.tree.map(lambda x: x[:, 0], sketch))
        draw = lambda key, like: _draw_noise(key, like, self.num_probes, self.rank)
        probes, signs = jax.vmap(draw)(keys, variable)
        new = jax.vmap(lambda u: self.cut.project(step, u, params), in_axes=1, out_axes=1)(probes)
        return jax.vmap(_join)((old, right), new, signs)


def _draw_noise(key, like, num_probes, rank):
    """Probes at right angles, whose products add up to the identity in the mean, and signs."""
    for_probes, for_signs = jax.random.split(key)
    flat, unravel = rows.ravel(rows.widen(like))
    num_probes = min(num_probes, flat.size)
    normal = jax.random.normal(for_probes, (flat.size, num_probes), flat.dtype)
    probes = jnp.sqrt(flat.size / num_probes) * orthonormalize(normal)[0].T
    signs = jax.random.rademacher(for_signs, (rank + num_probes,), flat.dtype)
    return _astype(jax.vmap(unravel)(probes), like), signs


@rows.widening
def _join(columns, new, signs):
    """As many columns for one worker as there were, with the new ones among them."""
    flatten = jax.vmap(lambda column: rows.ravel(rows.widen(column))[0])
    joined = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), columns, new)
    rank = jax.tree.leaves(columns)[0].shape[0]
    left, right = map(flatten, joined)
    reduced = reduce_by_signs(left, right, rank, signs)
    first = [jax.tree.map(lambda x: x[0], side) for side in columns]
    unravel = [jax.vmap(rows.ravel(like)[1]) for like in first]
    return _astype(tuple(f(x) for f, x in zip(unravel, reduced, strict=True)), columns)


def _astype(tree, like):
    return jax.tree.map(lambda x, given: x.astype(given.dtype), tree, like)


class LowRankUORO(AbstractInfluence):
    r"""UORO with several columns: the influence as a random product of low rank, for any step.

    $$ \tilde G = \sum_{i \le r} \tilde s_i \tilde\theta_i^\top \leftarrow \mathrm{reduce} \Big(
       \sum_{i \le r} \frac{\partial s_{t+1}}{\partial s_t} \tilde s_i \, \tilde\theta_i^\top +
       \sum_{j \le q} \nu_j \, \nu_j^\top \frac{\partial s_{t+1}}{\partial \theta} \Big) $$

    The probes $\nu_j$ are at right angles, with $\mathbb{E} \sum_j \nu_j \nu_j^\top = I$. Columns
    are reduced from $r + q$ to $r$ without bias and with the least variance there is: the largest
    singular values stay, the others are mixed by random signs. With as many columns and probes as
    there are numbers in the state it is `RTRL`.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | $r + 1$ states, $r$ copies of the parameters | $N W$, $r$ tangents | both modes |

    Prefer it to `UORO`: on `problems.RandomNet` four columns have a quarter of its variance with
    one probe, a tenth with two, and a hundredth with six. Where weights enter by products with
    vectors, `KFRTRL` and `OK` have still less for their cost; this one takes any step.

    **Arguments:**

    - `num_workers`: trajectories, each with noise of its own, spread over the episode.
    - `window`: steps between estimates.
    - `rank`: columns $r$; more than there are numbers in the state stay zero.
    - `num_probes`: probes $q$ of each step; there are never more than numbers in the state, or in
      the variable that is cut.
    - `cut`: where probes stand for the derivative of a step: `StateCut()`,
      `PreactivationCut()` or `ParameterCut()`; each takes a matrix $Q$.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem = unspool.problems.LinearQuadratic()
    >>> estimator = unspool.LowRankUORO(num_workers=4, window=3, rank=3, num_probes=2)
    >>> unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100).passed
    True

    **Reference:** Tallec, Ollivier (2017), arXiv 1702.05043, with the reduction of Benzing, Gauy,
    Mujika, Martinsson, Steger (2019), arXiv 1902.03993.
    """

    num_workers: int
    window: int
    rank: int = 4
    num_probes: int = 2
    cut: AbstractCut = eqx.field(default=StateCut(), kw_only=True)
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("tallec2017", "benzing2019")

    def __check_init__(self):
        check_count(rank=self.rank, num_probes=self.num_probes)

    @property
    def sketch(self) -> AbstractSketch:
        return LowRank(self.rank, self.num_probes, self.cut)
