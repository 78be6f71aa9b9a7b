"""Places in the episode at which workers start."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._custom_types import RandomKey
from .._random import Purpose, stream


class AbstractPhases(eqx.Module):
    """Draws how many windows into an episode each worker is when training starts."""

    ramps: ClassVar[bool] = False
    """True if workers are still born while updates are made."""

    def check(self, num_workers: int, num_windows: int, fixed_length: bool) -> None:
        """Raises `ValueError` where so many workers cannot start in this way."""

    @abc.abstractmethod
    def num_warmup_windows(self, num_windows: int) -> int:
        """The most windows that a worker has to run to get to its place."""

    @abc.abstractmethod
    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        """Each worker's phase, from 0 to `num_windows - 1`; below 0 if it is not born yet."""


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


class Staggered(AbstractPhases):
    r"""Workers born one after the other, so that no window is run before the first update.

    With $n$ windows in an episode, update $u < n$ has workers in windows 0 to $u$ alone. There
    window $k$ counts $n / (n - k)$ times, because that many fewer of these updates have it. At
    fixed parameters, with $g_k$ the gradient of window $k$, the means are

    $$ \mathbb{E}\, \hat g_u = \sum_{k \le u} \frac{n}{n - k}\, g_k \quad (u < n), \qquad
       \sum_{u < n} \mathbb{E}\, \hat g_u = n \sum_k g_k, \qquad
       \mathbb{E}\, \hat g_u = \sum_k g_k \quad (u \ge n): $$

    no single one of the first $n$ updates is unbiased, all of them together are. They are noisier
    than later ones. `EvenPhases` runs half an episode of each worker for nothing instead.

    It needs a worker for each window at least, and episodes of one length.
    """

    ramps: ClassVar[bool] = True

    def check(self, num_workers: int, num_windows: int, fixed_length: bool) -> None:
        if num_workers < num_windows:
            raise ValueError(
                f"Staggered() needs a worker (or a group) for each window of an episode: at least "
                f"{num_windows}, got {num_workers}; have longer windows, or EvenPhases()"
            )
        if not fixed_length:
            raise ValueError(
                "Staggered() needs episodes of one length, and these may end early or have random "
                "lengths: have EvenPhases()"
            )

    def num_warmup_windows(self, num_windows: int) -> int:
        return 0

    def draw(self, num_workers: int, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return -EvenPhases().draw(num_workers, num_windows, key)
