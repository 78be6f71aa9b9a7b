from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jaxtyping import Array, Float, UInt32

from .. import _rows as rows
from .._custom_types import Params
from .._random import numbered
from .directions import AbstractDirections, Directions, Draw


class LatticeDirections(AbstractDirections):
    r"""Directions that fill the space evenly, for up to three parameters.

    $$ u_j = (\mathrm{shift} + j A) \bmod 1 $$

    with $A$ the powers of the inverse of the root of $x^{P+1} = x + 1$, and a new random shift for
    every round of all workers' episodes. Each $u_j$ is uniform, and each direction standard
    normal: by the inverse of the normal distribution for one parameter and for three, by polar
    coordinates for two. These cover a half plane, as the other arm of the pair is on the other
    side, and get a random sign in every block: without it their mean is not zero, which sums of
    scores (`PES`, `GPES`) turn into a bias.

    With 200 workers of `NRES` on Lorenz, at three places and with two sigmas, the variance of an
    estimate was 0.35 to 0.81 times that of independent directions, and that of an episode's mean
    0.23 to 0.76 times (150 seeds).

    **Arguments:**

    - `keep`: as for `GaussianDirections`.

    **Raises:** `ValueError`, by `init` of an estimator, for more than three parameters.

    **Example:**

    >>> directions = unspool.LatticeDirections()
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1, directions=directions)
    >>> directions.most_params
    3

    **Reference:** Roberts (2018), The unreasonable effectiveness of quasirandom sequences; Cranley,
    Patterson (1976) for the shift.
    """

    keep: bool | None = eqx.field(default=None, kw_only=True)
    most_params: ClassVar[int] = 3

    def couples_episodes(self, pairs: int) -> bool:
        return True

    def couples_rounds(self, num_directions: int) -> bool:
        return False

    def check(self, num_params: int, pairs: int) -> None:
        if num_params > self.most_params:
            raise ValueError(
                f"a lattice is for at most {self.most_params} parameters, got {num_params}: use "
                "OrthogonalDirections or GaussianDirections"
            )

    def draw(self, params: Params, draw: Draw) -> Directions:
        flat, unravel = rows.ravel(rows.widen(params))
        size = flat.size
        steps = jnp.asarray(_lattice_steps(size))

        def one(number):
            round_, index = jnp.divmod(number, draw.num_directions)
            # Keys of rounds and those of signs are apart by the block, which is no negative number.
            shift = jax.random.bits(numbered(draw.key, round_, draw.block), (size,), jnp.uint32)
            uniform = _as_uniform(shift + index.astype(jnp.uint32) * steps)
            if size != 2:
                return unravel(jsp.stats.norm.ppf(uniform).astype(flat.dtype))
            sign_key = numbered(draw.key, number, -1 - draw.block)
            radius, angle = jnp.sqrt(-2 * jnp.log(1 - uniform[1])), jnp.pi * uniform[0]
            radius = radius * jax.random.rademacher(sign_key, (), radius.dtype)
            polar = jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)])
            return unravel(polar.astype(flat.dtype))

        return jax.vmap(one)(draw.numbers)


def _lattice_steps(size: int) -> np.ndarray:
    """The fractional parts of the powers of the golden ratio's generalization, in 2**-32."""
    root = 1.0
    for _ in range(64):
        root = (1 + root) ** (1 / (size + 1))
    return np.array([round(root**-k % 1 * 2**32) for k in range(1, size + 1)], np.uint32)


def _as_uniform(x: UInt32[Array, " params"]) -> Float[Array, " params"]:
    """Numbers between 0 and 1 that are neither, not even in single precision."""
    return ((x >> 9).astype(jnp.float32) + 0.5) * 2.0**-23
