"""Places in the episode at which workers start."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._custom_types import RandomKey
from .._random import Purpose, stream


class AbstractPhases(eqx.Module):
    """Draws how many windows into an episode each worker is when training starts."""

    @abc.abstractmethod
    def num_warmup_windows(self, num_windows: int) -> int:
        """The most windows that a worker has to run to get to its place."""

    @abc.abstractmethod
    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        """Each worker's phase, from 0 to `num_windows - 1`."""


class EvenPhases(AbstractPhases):
    """Workers spread evenly over the windows, from one random common offset.

    Each worker's own window is uniform, so a single estimate is unbiased whatever the number of
    workers; the even spread lowers its variance.
    """

    def num_warmup_windows(self, num_windows: int) -> int:
        return num_windows - 1

    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        offset = jax.random.bits(stream(key, Purpose.PHASE)) % num_windows
        spread = jnp.asarray(np.arange(num_workers) * num_windows // num_workers, int)
        return (offset.astype(int) + spread) % num_windows


class IndependentPhases(AbstractPhases):
    """Each worker at a window drawn by itself, as in the published experiments."""

    def num_warmup_windows(self, num_windows: int) -> int:
        return num_windows - 1

    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return jax.random.randint(stream(key, Purpose.PHASE), (num_workers,), 0, num_windows)


class LockStep(AbstractPhases):
    """All workers at the start of an episode, and so at the same window for ever.

    One estimate then sees one window; only the average over an episode is unbiased.
    """

    def num_warmup_windows(self, num_windows: int) -> int:
        return 0

    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return jnp.zeros(num_workers, int)
