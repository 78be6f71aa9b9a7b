"""Lengths of the training runs that a learned optimizer is meta-trained on."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._episodes import Episodes
from .._check import check_integer


class AbstractLengths(eqx.Module):
    """The lengths of training runs, given that of the longest, the horizon.

    The objective is the average per *step*: of two runs the longer one counts for more.
    """

    def check(self, horizon: int) -> None:
        """Raises `ValueError` if there is no such horizon."""

    @abc.abstractmethod
    def episodes(self, horizon: int) -> Episodes:
        """The runs as episodes of a problem, of which one is a run."""

    @abc.abstractmethod
    def mean(self, horizon: int) -> float:
        """The mean length, in the end."""


class Fixed(AbstractLengths):
    """All runs are as long as the horizon."""

    def episodes(self, horizon):
        return Episodes()

    def mean(self, horizon):
        return horizon


class LogUniform(AbstractLengths):
    """Lengths whose logarithms are uniform, from `shortest` to the horizon.

    What is learned is then to serve short runs and long ones, as in VeLO (Metz et al., 2022, arXiv
    2211.09760) and its successors.

    **Arguments:** `shortest`, a number of steps.
    """

    shortest: int

    def __check_init__(self):
        check_integer("shortest", self.shortest)

    def check(self, horizon):
        _check_within("shortest", self.shortest, horizon)

    def episodes(self, horizon):
        low, high = math.log(self.shortest), math.log(horizon + 1)

        def draw(*, key):
            return jnp.floor(jnp.exp(jax.random.uniform(key, minval=low, maxval=high))).astype(int)

        return Episodes(draw_length=draw)

    def mean(self, horizon):
        low, high = self.shortest, horizon + 1
        return (high - low) / math.log(high / low) - 0.5


class Lengthening(AbstractLengths):
    r"""A curriculum: short runs at first, as long as the horizon in the end.

    The run of number $b$, counted over all workers, has

    $$ \mathrm{first}\, (\mathrm{horizon} / \mathrm{first})^{\min(1,\, b / \mathrm{num\_runs})} $$

    steps, of which the whole part is taken.

    **Arguments:**

    - `first`: steps of the first runs.
    - `num_runs`: the number from which on runs are as long as the horizon.
    """

    first: int
    num_runs: int

    def __check_init__(self):
        check_integer("first", self.first)
        check_integer("num_runs", self.num_runs)

    def check(self, horizon):
        _check_within("first", self.first, horizon)

    def episodes(self, horizon):
        def max_length(episode):
            share = jnp.minimum(episode / self.num_runs, 1.0)
            # Not the power of one, which may fall short of the horizon by a rounding.
            length = self.first * jnp.exp(share * math.log(horizon / self.first))
            return jnp.where(share < 1, length.astype(int), horizon)

        return Episodes(max_length=max_length)

    def mean(self, horizon):
        return horizon


def _check_within(name: str, value: int, horizon: int) -> None:
    if value > horizon:
        raise ValueError(
            f"{name} must be at most the horizon {horizon}, got {value}; "
            f"the nearest legal value is {horizon}"
        )
