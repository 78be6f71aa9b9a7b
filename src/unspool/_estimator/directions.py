"""Directions in which parameters are perturbed."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, Params, RandomKey, WorkerMask
from .._random import numbered


class AbstractDirections(eqx.Module):
    r"""A joint draw of one direction per worker, a pure function of births and blocks.

    Each direction has mean zero and covariance $I$, and does not depend on earlier blocks'. A
    `Target` takes them for Gaussian: others smooth a loss that is not quadratic in another way.
    If directions are `independent`, a worker's is that of its own birth and block, whoever else is
    drawn for.
    """

    independent: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def draw(
        self, params: Params, key: RandomKey, birth: Clocks, block: Clocks
    ) -> PyTree[Float[Array, "workers ..."]]:
        """The directions of these workers in these blocks of their episodes."""


class GaussianDirections(AbstractDirections):
    """Independent standard normal directions."""

    independent: ClassVar[bool] = True

    def draw(
        self, params: Params, key: RandomKey, birth: Clocks, block: Clocks
    ) -> PyTree[Float[Array, "workers ..."]]:
        flat, unravel = rows.ravel(rows.widen(params))

        def one(birth, block):
            mine = numbered(key, birth, block)
            return unravel(jax.random.normal(mine, flat.shape, flat.dtype))

        return jax.vmap(one)(birth, block)


class Kept(eqx.Module):
    """Directions that last an episode, kept instead of drawn in every window.

    To draw for the few workers that begin anew takes as long as to draw for all. So all are drawn
    ahead of their next episodes, at once, when the first one needs what has been used up.

    - `now`: every worker's direction.
    - `ahead`: that of its next episode.
    - `used`: workers whose `ahead` they live through already.
    """

    now: PyTree[Float[Array, "workers ..."]]
    ahead: PyTree[Float[Array, "workers ..."]]
    used: WorkerMask

    def turn(
        self,
        newborn: WorkerMask,
        draw: Callable[[], PyTree[Float[Array, "workers ..."]]],
    ) -> "Kept":
        """The directions once some workers have begun anew; `draw` makes all next ones."""
        refill = lambda: (rows.where(self.used, draw(), self.ahead), jnp.zeros_like(self.used))
        keep = lambda: (self.ahead, self.used)
        ahead, used = jax.lax.cond(jnp.any(newborn & self.used), refill, keep)
        return Kept(rows.where(newborn, ahead, self.now), ahead, used | newborn)
