"""Directions in which parameters are perturbed."""

import abc

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Clocks, Params, RandomKey
from .._random import numbered


class AbstractDirections(eqx.Module):
    r"""A joint draw of one direction per worker, a pure function of births and blocks.

    Each direction has mean zero and covariance $I$, and does not depend on earlier blocks'. A
    `Target` takes them for Gaussian: others smooth a loss that is not quadratic in another way.
    """

    @abc.abstractmethod
    def draw(
        self, params: Params, key: RandomKey, birth: Clocks, block: Clocks
    ) -> PyTree[Float[Array, "workers ..."]]:
        """The directions of these workers in these blocks of their episodes."""


class GaussianDirections(AbstractDirections):
    """Independent standard normal directions."""

    def draw(
        self, params: Params, key: RandomKey, birth: Clocks, block: Clocks
    ) -> PyTree[Float[Array, "workers ..."]]:
        flat, unravel = ravel_pytree(params)

        def one(birth, block):
            mine = numbered(key, birth, block)
            return unravel(jax.random.normal(mine, flat.shape, flat.dtype))

        return jax.vmap(one)(birth, block)
