import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Params
from .._random import numbered
from .directions import AbstractDirections, Directions, Draw


class OrthogonalDirections(AbstractDirections):
    r"""Cohorts of directions at right angles to one another.

    $$ z_j = \chi_j \, q_j, \qquad q_j \cdot q_k = 0 $$

    with $q$ the columns of a random rotation (uniform among all) and $\chi_j$ the lengths of
    independent normal vectors, so that each direction is standard normal by itself. For a linear
    loss of $P$ parameters and evenly spread workers, the variance of an estimate is
    $(P + 2 - c) / (P + 1)$ times that of independent directions, with $c$ the size of a cohort.

    A cohort is drawn as a whole by every group that has a part in it, which takes $c^2 P$
    operations: cheap for few parameters, or where cohorts are no larger than groups.

    **Arguments:**

    - `size`: directions in a cohort, at most as many as there are parameters; it divides
      `pairs_per_group` or is a multiple of it.
    - `keep`: as for `GaussianDirections`.

    **Raises:** `ValueError` for a size below 1, or, by `init` of an estimator, one that is larger
    than the number of parameters.

    **Example:**

    >>> from unspool.extend import Draw
    >>> directions = unspool.OrthogonalDirections(size=2)
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1, directions=directions)
    >>> draw = Draw(jax.random.key(0), jnp.arange(2), jnp.array(0), 100)
    >>> first, second = directions.draw(jnp.zeros(3), draw)
    >>> print(first.shape, f"{abs(jnp.dot(first, second)):.3f}")
    (3,) 0.000

    **Reference:** Choromanski, Rowland, Sindhwani, Turner, Weller (2018), arXiv 1804.02395.
    """

    size: int
    keep: bool | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        check_count(size=self.size)

    def couples_episodes(self, pairs: int) -> bool:
        return pairs % self.size > 0

    def couples_rounds(self, num_directions: int) -> bool:
        return num_directions % self.size > 0

    def check(self, num_params: int, pairs: int) -> None:
        if self.size > num_params:
            raise ValueError(
                f"size must be at most the number of parameters, {num_params}, got {self.size}; "
                f"the nearest legal value is {num_params}"
            )
        if pairs % self.size > 0 and self.size % pairs > 0:
            legal = [c for c in range(1, num_params + 1) if pairs % c == 0 or c % pairs == 0]
            nearest = min(legal, key=lambda c: abs(c - self.size))
            raise ValueError(
                f"size must divide pairs_per_group={pairs} or be a multiple of it, got "
                f"{self.size}; the nearest legal value is {nearest}"
            )

    def draw(self, params: Params, draw: Draw) -> Directions:
        flat, unravel = rows.ravel(rows.widen(params))

        def draw_cohort(cohort):
            key = numbered(draw.key, cohort, draw.block)
            normal = jax.random.normal(key, (flat.size, self.size), flat.dtype).T
            # Uniform among rotations, and independent of the lengths (Stewart, 1980).
            return rows.scale(rows.norm(normal), _orthonormal(normal))

        cohorts = draw.numbers[:: self.size] // self.size
        directions = jnp.concatenate(list(jax.vmap(draw_cohort)(cohorts)))
        return jax.vmap(unravel)(directions[draw.numbers - cohorts[0] * self.size])


def _orthonormal(vectors: Float[Array, "size params"]) -> Float[Array, "size params"]:
    """Each vector less its part along those before it, of length one (Gram and Schmidt).

    The factorization of a library would leave the accelerator, matrix after matrix.
    """

    def add(j, found):
        vector = vectors[j]
        for _ in range(2):  # Once leaves what rounding adds; twice is enough (Kahan and Parlett).
            vector = vector - (found @ vector) @ found
        return found.at[j].set(vector / jnp.linalg.norm(vector))

    return jax.lax.fori_loop(0, len(vectors), add, jnp.zeros_like(vectors))
