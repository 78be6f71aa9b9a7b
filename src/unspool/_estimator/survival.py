"""The share of episodes that reach each window without failing, and weights against it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .. import _rows as rows
from .._custom_types import BoolScalar, IntScalar, PairMask, WorkerValues

LEAST_SURVIVAL = 0.05
"""Weights are right as long as so large a share of the episodes gets to the end."""

_EPISODES_REMEMBERED = 2000
_EPISODES_OF_WORKER = 32


class Survival(eqx.Module):
    r"""The share of episodes that reach each window, as far as failures are concerned.

    $$ G_k = \prod_{j < k} \Big( 1 - \frac{\mathrm{failed}_j}{\mathrm{attempted}_j} \Big) $$

    A worker that fails is missing from the later windows of its episode. Where failures have
    nothing to do with the noise, what the others find there, times $1 / G_k$, makes up for it:
    inverse probability weights with the estimator of Kaplan and Meier (1958). Only earlier
    updates count, so that a weight owes nothing to the noise that it is applied to. Counts fade
    with a memory of 2000 episodes, and 32 of each worker at least, because failures come and go
    while parameters move.

    - `attempted`, `failed`: workers that ran each window, and that failed in it.
    - `weight`: $1 / G_k$ for each window and for the end; exactly one while nothing fails.
    """

    attempted: Float[Array, " windows"]
    failed: Float[Array, " windows"]
    weight: Float[Array, " windows+1"]

    @classmethod
    def of(cls, num_windows: int) -> "Survival":
        """That of episodes of which none has failed yet."""
        nothing = jnp.zeros(num_windows)
        return cls(nothing, nothing, jnp.ones(num_windows + 1))

    @property
    def is_certain(self) -> BoolScalar:
        """True if no failure has been counted, so that all weights are one."""
        return self.weight[-1] == 1

    @rows.widening
    def weigh(
        self, window: Int[Array, " workers"], num_workers: int, restart_at_once: bool
    ) -> tuple[WorkerValues, WorkerValues]:
        """The weights of workers that come through these windows, and how many times the weight
        with which they have reached them that is."""
        gain = self.weight[1:] / self.weight[:-1]
        weight, mine = self.weight[window + 1], gain[window]
        # The sum of gains that an estimate is divided by is larger if I come through, and by more
        # if my gain is: to first order in the number of workers this makes up for it.
        # Where nothing has been counted all gains are one, and so is their mean.
        seen = self.attempted + jnp.finfo(self.attempted.dtype).tiny
        mean = jnp.sum(gain * seen) / jnp.sum(seen)
        running = num_workers * (1.0 if restart_at_once else jnp.mean(1 / self.weight[:-1]))
        return weight * (1 + (mine - mean) / running), mine

    @rows.widening
    def observe(
        self, window: Int[Array, " workers"], attempted: PairMask, failed: PairMask
    ) -> "Survival":
        """The counts once these pairs have run the windows of their groups, or failed in them."""
        fade = 1 - 1 / self._memory(attempted.size)
        # In integers: a float32 that is counted up by ones stops at 2**24.
        zeros = jnp.zeros(self.attempted.shape, int)
        of_group = lambda mask: jnp.sum(mask, axis=0, dtype=int)
        count = lambda mask: zeros.at[window].add(of_group(mask)).astype(self.attempted.dtype)
        attempts = fade * self.attempted + count(attempted)
        counted = Survival(attempts, fade * self.failed + count(failed), self.weight)
        reached = jnp.concatenate([jnp.ones(1), jnp.cumprod(1 - counted.rate)])
        weight = 1 / jnp.maximum(reached, LEAST_SURVIVAL)
        return Survival(attempts, counted.failed, weight)

    @rows.widening
    def after_even_updates(self, num_updates: IntScalar, num_workers: int) -> "Survival":
        """The counts, or if there are none those of updates that nothing has failed in."""
        updates = jnp.minimum(num_updates, self._memory(num_workers))
        uncounted = updates * (num_workers / self.attempted.size)
        attempts = self.attempted + jnp.where(self.is_certain, uncounted, 0)
        return Survival(attempts, self.failed, self.weight)

    @property
    @rows.widening
    def rate(self) -> Float[Array, " windows"]:
        """The share of workers that fail in each window."""
        # One attempt more with the mean rate, for windows that have hardly been seen.
        mean = jnp.sum(self.failed) / jnp.maximum(jnp.sum(self.attempted), 1)
        return jnp.minimum((self.failed + mean) / (self.attempted + 1), 1.0)

    def _memory(self, num_workers: int) -> int:
        """In updates."""
        episodes = max(-(-_EPISODES_REMEMBERED // num_workers), _EPISODES_OF_WORKER)
        return episodes * self.attempted.size
