"""How many episodes get as far as each window without failing, and what late windows weigh."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._custom_types import IntScalar, Scalar, WorkerMask, WorkerValues

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

    def before(self, window: Int[Array, " workers"]) -> WorkerValues:
        """The weight of workers that have reached a window."""
        return self.weight[window]

    def after(self, window: Int[Array, " workers"]) -> WorkerValues:
        """The weight of workers that have come through a window."""
        return self.weight[window + 1]

    @property
    def mean_weight(self) -> Scalar:
        """The mean weight of workers that come into a window."""
        total = jnp.sum(self.attempted)
        mean = jnp.sum(self.attempted * self.weight[:-1]) / jnp.maximum(total, 1)
        return jnp.where(total > 0, mean, 1.0)

    def observe(
        self, window: Int[Array, " workers"], attempted: WorkerMask, failed: WorkerMask
    ) -> "Survival":
        """The counts once these workers have run these windows, or failed in them."""
        fade = 1 - 1 / self._memory(window.size)
        count = lambda mask: jnp.zeros_like(self.attempted).at[window].add(mask * 1.0)
        attempts = fade * self.attempted + count(attempted)
        counted = Survival(attempts, fade * self.failed + count(failed), self.weight)
        reached = jnp.concatenate([jnp.ones(1), jnp.cumprod(1 - counted.rate)])
        weight = 1 / jnp.maximum(reached, LEAST_SURVIVAL)
        return Survival(attempts, counted.failed, weight)

    def observe_failures(
        self,
        window: Int[Array, " workers"],
        attempted: WorkerMask,
        failed: WorkerMask,
        update: IntScalar,
    ) -> "Survival":
        """As `observe`, but nothing is counted, and nothing paid for it, before the first failure.

        The updates until then are taken for even: each window was attempted as often as another.
        """

        def count_from_now_on():
            updates = jnp.minimum(update, self._memory(window.size))
            uncounted = updates * (window.size / self.attempted.size)
            attempts = jnp.where(self.weight[-1] > 1, self.attempted, self.attempted + uncounted)
            return Survival(attempts, self.failed, self.weight).observe(window, attempted, failed)

        counting = (self.weight[-1] > 1) | jnp.any(failed)
        return jax.lax.cond(counting, count_from_now_on, lambda: self)

    @property
    def rate(self) -> Float[Array, " windows"]:
        """The share of workers that fail in each window."""
        # One attempt more with the mean rate, for windows that have hardly been seen.
        mean = jnp.sum(self.failed) / jnp.maximum(jnp.sum(self.attempted), 1)
        return jnp.minimum((self.failed + mean) / (self.attempted + 1), 1.0)

    def _memory(self, num_workers: int) -> int:
        """In updates."""
        episodes = max(-(-_EPISODES_REMEMBERED // num_workers), _EPISODES_OF_WORKER)
        return episodes * self.attempted.size
