"""Kernel B: reverse-mode derivatives of one window."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Params, RandomKey, RowLosses, WorkerMask
from .._engine import AbstractEngine, Trajectories
from .._target import Target
from .base import AbstractEstimator
from .estimate import WindowRun, WindowSums, accumulate
from .plan import Plan, plan_whole_windows
from .trajectories import choose, take
from .workers import Origin, Roster, Workers, init_workers


class AbstractReverse(AbstractEstimator):
    r"""The kernel of estimators that run backwards through a window.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N}
       \nabla_\theta \sum_{t \in \text{window}} \ell_t^{(i)} $$

    The states that come into the window are constant; that of a new episode is not.
    """

    window: eqx.AbstractVar[int | None]

    def __check_init__(self):
        check_count(num_workers=self.num_workers, window=self.window)

    def plan(self, horizon: int) -> Plan:
        return plan_whole_windows(self, horizon, Target(self.window))

    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        trajectory = engine.start(params, rows.repeat(key, 1))
        return init_workers(key, self.plan(engine.horizon), Origin(trajectory))

    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        window = ReverseWindow(engine, params, workers, workers.roster(engine))
        return window.run(self.plan(engine.horizon).num_sequential_steps)


class Attempt(NamedTuple):
    """A gradient summed over some workers, and what it was found with."""

    grad: Params
    start: Trajectories
    after: Trajectories
    losses: RowLosses


class ReverseWindow(NamedTuple):
    """A window of the workers at hand: who takes part, and with what."""

    engine: AbstractEngine
    params: Params
    workers: Workers
    roster: Roster

    def run(self, num_steps: int) -> tuple[WindowSums, Workers]:
        """What the workers find, and where they stand afterwards."""
        roster, incoming = self.roster, self.workers.trajectories
        running = rows.arm(roster.running, 0)

        def attempt(used):
            loss = lambda params: self._sum_losses(params, used, num_steps)
            (_, aux), grad = jax.value_and_grad(loss, has_aux=True)(self.params)
            return Attempt(grad, *aux)

        nothing = jnp.zeros(incoming.arms.done.shape, jnp.result_type(float))
        blank = Attempt(rows.zeros_like(self.params), incoming, incoming, nothing)
        sound, lost, start, found = leave_out_unsound(attempt, running, blank)
        # A worker whose episode is done before its first step has a gradient, which is zero.
        healthy = running & (sound | rows.arm(start.arms.done, 0))
        losses = jnp.where(lost, jnp.nan, jnp.where(sound, rows.arm(found.losses, 0), 0))
        clock = start.clock
        t = jnp.minimum(clock.t + num_steps, clock.length)
        after = choose(sound, found.after, replace(start, clock=replace(clock, t=t)))
        grad = jax.tree.map(lambda x: jnp.where(jnp.any(sound), x, 0), found.grad)
        losses, finite, healthy = rows.arms(losses), rows.arms(~lost), rows.arms(healthy)
        run = WindowRun(start, after, losses, finite, healthy)
        sums = accumulate(roster, self.workers.layout, run, grad)
        return sums, self.workers.after(roster, healthy, after, None)

    def _sum_losses(self, params: Params, used: WorkerMask, num_steps: int):
        """The loss of the workers used; one of them stands in for those that are not."""
        engine, roster = self.engine, self.roster
        index = jnp.where(used, jnp.arange(used.size), jnp.argmax(used))
        before, episode = take(self.workers.trajectories, index), roster.episode[index]

        def begin():
            new = engine.start(params, self.workers.data_keys(episode))
            return choose(roster.reset[index], engine.shorten(new, episode), before)

        start = jax.lax.cond(jnp.any(roster.reset), begin, lambda: before)
        after, losses = engine.unroll(params, start, num_steps)
        total = jnp.sum(rows.arm(losses, 0) * roster.share, where=used)
        return total, (start, after, losses)


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
        settled = jnp.where(success, group, spoilt | start.arms.done[0])
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
