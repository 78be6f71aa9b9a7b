from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .cut import AbstractCut, StateCut
from .influence import AbstractInfluence, AbstractSketch

_TINY = 1e-7


class RankOne(AbstractSketch):
    """The product of a vector like the state and one like the parameters."""

    cut: AbstractCut

    def view(self, engine):
        return self.cut.view(engine)

    def blank(self, state, params):
        num_workers = jax.tree.leaves(state)[0].shape[0]
        return rows.zeros_like(state), rows.repeat(rows.zeros_like(params), num_workers)

    def pull(self, sketch, cotangent, params):
        state, influence = sketch
        return rows.scale(rows.dot(state, cotangent), influence)

    def push(self, sketch, step, keys, params):
        state, influence = sketch
        carried = step.forward(state, None)
        signs = jax.vmap(_draw_signs)(keys, self.cut.variable(state, influence))
        left, right = self.cut.project(step, signs, params)
        old, new = _balance(influence, carried), _balance(right, left)
        add = lambda x, y: jax.tree.map(jnp.add, x, y)
        return (
            add(rows.scale(old, carried), rows.scale(new, left)),
            add(rows.scale(1 / old, influence), rows.scale(1 / new, right)),
        )


def _balance(left, right):
    """The factor that gives both sides of a product the same norm; one if both are zero."""
    return jnp.sqrt((rows.norm(left) + _TINY) / (rows.norm(right) + _TINY))


def _draw_signs(key, variable):
    flat, unravel = rows.ravel(variable)
    return unravel(jax.random.rademacher(key, flat.shape, flat.dtype))


class UORO(AbstractInfluence):
    r"""Unbiased online recurrent optimization: the influence as a random rank-one product.

    $$ \tilde G = \tilde s \, \tilde\theta^\top, \qquad
       \tilde s \leftarrow \rho_0 \frac{\partial s_{t+1}}{\partial s_t} \tilde s + \rho_1 \nu,
       \qquad \tilde\theta \leftarrow \frac{\tilde\theta}{\rho_0} +
       \frac{1}{\rho_1} \nu^\top \frac{\partial s_{t+1}}{\partial \theta} $$

    with random signs $\nu$ and factors $\rho$ that balance norms. Each step's gradient uses the
    sketch that comes in, and the step's own derivative exactly, as in the original. Signs may also
    be mixed by a matrix, or stand elsewhere between parameters and state (Cooijmans, Martens).

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | two states, one copy of the parameters | $N W$ | both modes |

    Prefer `RTRL` for few parameters and the perturbed estimators for chaotic problems; this one's
    noise grows with the size of the state and the length of the episode. `LowRankUORO` has less.

    **Arguments:**

    - `num_workers`: trajectories, each with signs of its own, spread over the episode.
    - `window`: steps between estimates.
    - `cut`: where signs stand for the derivative of a step: `StateCut()`, as published,
      `PreactivationCut()` or `ParameterCut()`; each takes a matrix $Q$.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.UORO(num_workers=100, window=10)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # 100 workers, a window
    1000

    **Reference:** Tallec, Ollivier (2017), arXiv 1702.05043; cuts: Cooijmans, Martens (2019),
    arXiv 1902.02405.
    """

    num_workers: int
    window: int
    cut: AbstractCut = eqx.field(default=StateCut(), kw_only=True)
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("tallec2017", "cooijmans2019")

    @property
    def sketch(self) -> AbstractSketch:
        return RankOne(self.cut)
