"""Kernel B: reverse-mode derivatives of one window."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Params, RandomKey
from .._engine import AbstractEngine
from .._target import Target
from .base import AbstractEstimator, Tally, tally
from .phases import EvenPhases
from .workers import Workers, choose, enlist, retire, take


class AbstractReverse(AbstractEstimator):
    r"""The kernel of estimators that run backwards through a window.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N}
       \nabla_\theta \sum_{t \in \text{window}} \ell_t^{(i)} $$

    The states that come into the window are constant; that of a new episode is not.
    """

    window: eqx.AbstractVar[int | None]

    def __check_init__(self):
        check_count(num_workers=self.num_workers, window=self.window)

    def num_windows(self, horizon: int) -> int:
        return -(-horizon // (self.window or horizon))

    @property
    def num_rows(self) -> int:
        return self.num_workers

    def num_sequential_steps(self, horizon: int) -> int:
        return min(self.window or horizon, horizon)

    def num_warmup_windows(self, horizon: int) -> int:
        return self.num_windows(horizon) - 1

    def target(self, horizon: int) -> Target:
        return Target(self.window)

    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return EvenPhases().draw(self.num_workers, num_windows, key)

    def _enlist(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        trajectory = engine.start(params, rows.repeat(key, 1))
        return enlist(key, self.num_workers, trajectory, None)

    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        T = engine.horizon
        W = min(self.window or T, T)
        incoming = workers.trajectories
        newborn, birth = incoming.ended, workers.births(incoming.ended)
        keys = workers.data_keys(birth)
        worker = jnp.arange(birth.size)

        def window_loss(params, healthy):
            """The healthy workers' loss; one of them stands in for those that are not."""
            born = lambda: engine.shorten(engine.start(params, keys), birth)
            give_birth = lambda: choose(newborn, born(), incoming)
            start = jax.lax.cond(jnp.any(newborn), give_birth, lambda: incoming)
            substitute = jnp.where(healthy, worker, jnp.argmax(healthy))
            after, losses = engine.unroll(params, take(start, substitute), W)
            return jnp.sum(losses, where=healthy), (start, after, losses)

        def attempt(carry):
            _, healthy, _ = carry
            (_, aux), grad = jax.value_and_grad(window_loss, has_aux=True)(params, healthy)
            finite = healthy & jnp.isfinite(aux[-1][0])
            return jnp.all(finite == healthy), finite, (grad, aux)

        # A derivative cannot be masked afterwards: zero times infinity is no number. So a window
        # in which workers fail is run once more without them.
        goes_on = lambda carry: ~carry[0] & jnp.any(carry[1])
        nothing = jnp.zeros(incoming.over.shape, jnp.result_type(float))
        blank = (rows.zeros_like(params), (incoming, incoming, nothing))
        everyone = jnp.ones(birth.size, bool)
        carry = jax.lax.while_loop(goes_on, attempt, (jnp.array(False), everyone, blank))
        _, healthy, (grad, (start, after, losses)) = carry
        workers = workers.at(birth, after, None)
        return tally(start, after, losses, grad, healthy), retire(workers, ~healthy)
