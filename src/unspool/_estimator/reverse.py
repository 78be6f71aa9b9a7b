"""Kernel B: reverse-mode derivatives of one window."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Params, RandomKey, RowLosses, WorkerMask
from .._engine import AbstractEngine, Trajectories
from .._target import Target
from .base import AbstractEstimator
from .phases import EvenPhases
from .tally import Tally, tally
from .workers import Workers, choose, enlist, take


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
        return enlist(key, self.num_workers, self.num_windows(engine.horizon), trajectory, None)

    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        T = engine.horizon
        W = min(self.window or T, T)
        incoming = workers.trajectories
        roster = workers.roster(engine)
        newborn, worker = roster.newborn, jnp.arange(roster.birth.size)

        def window_loss(params, used):
            """The loss of the workers used; one of them stands in for those that are not."""
            index = jnp.where(used, worker, jnp.argmax(used))
            before, birth = take(incoming, index), roster.birth[index]
            born = lambda: engine.shorten(engine.start(params, workers.data_keys(birth)), birth)
            give_birth = lambda: choose(newborn[index], born(), before)
            start = jax.lax.cond(jnp.any(newborn), give_birth, lambda: before)
            after, losses = engine.unroll(params, start, W)
            total = jnp.sum(losses[0] * roster.share, where=used)
            return total, (start, after, losses)

        def attempt(used):
            (_, aux), grad = jax.value_and_grad(window_loss, has_aux=True)(params, used)
            return Attempt(grad, *aux)

        nothing = jnp.zeros(incoming.over.shape, jnp.result_type(float))
        blank = Attempt(rows.zeros_like(params), incoming, incoming, nothing)
        sound, lost, start, found = leave_out_unsound(attempt, roster.running, blank)
        # A worker whose episode is over before its first step has a gradient, which is zero.
        healthy = roster.running & (sound | start.over[0])
        losses = jnp.where(lost, jnp.nan, jnp.where(sound, found.losses, 0))
        stood_still = eqx.tree_at(lambda x: x.t, start, jnp.minimum(start.t + W, start.end))
        after = choose(sound, found.after, stood_still)
        grad = jax.tree.map(lambda x: jnp.where(jnp.any(sound), x, 0), found.grad)
        return (
            tally(roster, start, after, losses, grad, healthy),
            workers.after(roster, healthy, after, None),
        )


class Attempt(NamedTuple):
    """A gradient summed over some workers, and what it was found with."""

    grad: Params
    start: Trajectories
    after: Trajectories
    losses: RowLosses


def leave_out_unsound(
    attempt: Callable[[WorkerMask], Attempt], running: WorkerMask, blank: Attempt
) -> tuple[WorkerMask, WorkerMask, Trajectories, Attempt]:
    """The workers whose losses and derivatives are finite, those whose losses are not, where all
    have started from, and the attempt with the former.

    A derivative cannot be masked afterwards: zero times infinity is no number, and workers share
    one backward pass. So all are tried together, which most often is the end of it. If that
    fails, those without a finite loss are left out; where all losses are finite, ever smaller
    groups are tried along with the workers that are known to be sound, until who spoils the
    gradient is found. Workers that are over before their first step owe it nothing, and are left
    out in case they spoil it.
    """

    def search(carry):
        sound, lost, todo, size, start, _, _ = carry
        group = todo & (jnp.cumsum(todo) <= size)
        found = attempt(sound | group)
        start = choose(group, found.start, start)
        unhealthy = group & ~jnp.isfinite(found.losses[0])
        success = ~jnp.any(unhealthy) & rows.all_finite(rows.repeat(found.grad, 1))[0]
        spoilt = jnp.where(jnp.any(unhealthy), unhealthy, group & (size == 1))
        settled = jnp.where(success, group, spoilt | start.over[0])
        smaller = jnp.where(jnp.any(unhealthy), size, jnp.maximum(size // 2, 1))
        return (
            jnp.where(success, sound | group, sound),
            lost | unhealthy,
            todo & ~settled,
            jnp.where(success, 2 * size, smaller),
            start,
            success,
            found,
        )

    def goes_on(carry):
        sound, _, todo, _, _, success, _ = carry
        return jnp.any(todo) | (~success & jnp.any(sound))

    none = jnp.zeros_like(running)
    size, success = jnp.array(running.size), jnp.array(False)
    carry = none, none, running, size, blank.start, success, blank
    sound, lost, _, _, start, _, found = jax.lax.while_loop(goes_on, search, carry)
    return sound, lost, start, found
