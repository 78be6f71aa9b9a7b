"""Directions in which parameters are perturbed."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import BoolScalar, IntScalar, Params, RandomKey
from .._random import numbered

Directions = PyTree[Float[Array, "pairs ..."]]


class Draw(NamedTuple):
    """The key and the numbers that a group's directions are a function of.

    - `key`: the root of the noise.
    - `numbers`: those of its pairs, which follow one another: no two pairs of two episodes share
      one. With groups of g pairs they begin at a multiple of g.
    - `block`: how many directions each pair has had in this episode.
    - `num_directions`: how many pairs there are, so that all together run through that many
      numbers before the first begins anew.
    """

    key: RandomKey
    numbers: Int[Array, " pairs"]
    block: IntScalar
    num_directions: int


class Use(NamedTuple):
    """The estimator that directions are for.

    - `num_params`: how many numbers are perturbed.
    - `num_pairs`: pairs of all groups.
    - `pairs_per_group`: how many of them share clock, keys and data.
    - `lasts`: whether a direction lasts an episode.
    - `learns`: whether something is learned on directions that is applied to later ones.
    """

    num_params: int
    num_pairs: int
    pairs_per_group: int = 1
    lasts: bool = True
    learns: bool = False


class AbstractDirections(eqx.Module):
    r"""A joint draw of directions: a pure function of their numbers and blocks.

    Each direction is standard normal, whatever the others are, and does not depend on those of
    other blocks of its episode.

    `keep` says whether directions that last an episode are kept in memory rather than drawn again
    in every window; `None` keeps them where they are no larger than the states.
    """

    keep: ClassVar[bool | None] = None

    @abc.abstractmethod
    def couples_episodes(self, pairs: int) -> bool:
        """True if directions of different groups, of so many pairs each, depend on one another."""

    def couples_rounds(self, num_directions: int) -> bool:
        """True if directions of different rounds, of so many each, depend on one another."""
        return True

    def check(self, num_params: int, pairs: int) -> None:
        """Raises `ValueError` if so many parameters, or groups of so many pairs, cannot be had."""
        return

    def choose(self, use: "Use") -> "AbstractDirections":
        """The directions that an estimator draws; by default these themselves."""
        return self

    @abc.abstractmethod
    def draw(self, params: Params, draw: Draw) -> Directions:
        """The directions of a group's pairs, of the parameters' tree."""


def draw_once(draw: Callable[[], PyTree], needed: BoolScalar) -> PyTree:
    """The result of `draw()`, or zeros where it is not needed."""
    no_draw = lambda: rows.zeros_like(jax.eval_shape(draw))
    # On the CPU XLA would fuse the draw into each arm and into the gradient, and so take most
    # of its logarithms and polynomials three times. What comes out of a branch it keeps. Other
    # devices would wait for the branch.
    branch = lambda: jax.lax.cond(needed, draw, no_draw)
    return jax.lax.platform_dependent(cpu=branch, default=draw)


class GaussianDirections(AbstractDirections):
    """Independent standard normal directions.

    **Arguments:**

    - `keep`: whether directions that last an episode are kept in memory rather than drawn again
      in every window. By default they are where they are no larger than the states.

    **Example:**

    >>> directions = unspool.GaussianDirections(keep=True)
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1, directions=directions)
    >>> estimator.directions
    GaussianDirections(keep=True)
    """

    keep: bool | None = eqx.field(default=None, kw_only=True)

    def couples_episodes(self, pairs: int) -> bool:
        return False

    def couples_rounds(self, num_directions: int) -> bool:
        return False

    def draw(self, params: Params, draw: Draw) -> Directions:
        flat, unravel = rows.ravel(rows.widen(params))

        def one(number):
            key = numbered(draw.key, number, draw.block)
            return unravel(jax.random.normal(key, flat.shape, flat.dtype))

        return jax.vmap(one)(draw.numbers)
