"""Kernel B: reverse-mode derivatives of one window."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import (
    BoolScalar,
    Clocks,
    IntScalar,
    Params,
    RandomKey,
    RowLosses,
    WorkerMask,
)
from .._engine import AbstractEngine, Trajectories
from .._random import numbered
from .._target import Target
from .base import AbstractEstimator
from .estimate import GradientSums, WindowRun, WindowSums, accumulate
from .plan import Plan, plan_whole_windows
from .roster import Roster
from .trajectories import choose, take, with_state
from .workers import Origin, Workers, begin_workers


class AbstractReverse(AbstractEstimator):
    r"""The kernel of estimators that run backwards through a window.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N}
       \nabla_\theta \sum_{t \in \text{window}} \ell_t^{(i)} $$

    The states that come into the window are constant; that of a new episode is not.
    """

    window: eqx.AbstractVar[int | None]

    @property
    def gate(self) -> Callable[[Any, Any], Any] | None:
        """The state that a step hands on, of workers' keys and states, with a derivative of its
        own; `None` where it is handed on as it is."""
        return None

    def __check_init__(self):
        check_count(num_workers=self.num_workers, window=self.window)

    def plan(self, horizon: int) -> Plan:
        return plan_whole_windows(self, horizon, Target(self.window))

    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        trajectory = engine.start(params, rows.repeat(key, 1))
        return begin_workers(key, self.plan(engine.horizon), Origin(trajectory))

    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        window = ReverseWindow(engine, params, workers, workers.roster(engine), self.gate)
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
    gate: Callable[[Any, Any], Any] | None = None

    def run(self, num_steps: int) -> tuple[WindowSums, Workers]:
        """Sums over the workers, and the workers after the window."""
        roster, incoming = self.roster, self.workers.trajectories
        running = rows.arm(roster.running, 0)

        def attempt(used):
            loss = lambda params: self._sum_losses(params, used, num_steps)
            (_, aux), grad = jax.value_and_grad(loss, has_aux=True)(self.params)
            return Attempt(grad, *aux)

        nothing = jnp.zeros(incoming.arms.done.shape, jnp.result_type(float))
        blank = Attempt(rows.zeros_like(self.params), incoming, incoming, nothing)
        search = leave_out_unsound(attempt, running, blank)
        sound, start, found = search.sound, search.start, search.found
        # A worker whose episode is done before its first step has a gradient, which is zero.
        healthy = running & (sound | rows.arm(start.arms.done, 0))
        losses = jnp.where(search.lost, jnp.nan, jnp.where(sound, rows.arm(found.losses, 0), 0))
        clock = start.clock
        t = jnp.minimum(clock.t + num_steps, clock.length)
        after = choose(sound, found.after, replace(start, clock=replace(clock, t=t)))
        grad = jax.tree.map(lambda x: jnp.where(jnp.any(sound), x, 0), found.grad)
        losses, finite, healthy = rows.arms(losses), rows.arms(~search.lost), rows.arms(healthy)
        run = WindowRun(start, after, losses, finite, healthy)
        sums = accumulate(roster, self.workers.layout, run, GradientSums(grad))
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
        if (hand_on := self.gate) is None:
            after, losses = engine.unroll(params, start, num_steps)
        else:
            key = lambda episode, t: numbered(self.workers.noise_key, episode, t)
            gate = lambda t, state: hand_on(jax.vmap(key)(episode, t), state)
            after, losses = unroll_gated(engine, params, start, num_steps, gate)
        total = jnp.sum(rows.arm(losses, 0) * roster.share, where=used)
        return total, (start, after, losses)


def unroll_gated(
    engine: AbstractEngine,
    params: Params,
    start: Trajectories,
    num_steps: int,
    gate: Callable[[Clocks, Any], Any],
) -> tuple[Trajectories, RowLosses]:
    """As the engine unrolls; a step hands on what `gate(t, state)` makes of its state."""

    def step(carry, _):
        before, total = carry
        after, losses = engine.unroll(params, before, 1)
        state = gate(before.clock.t, rows.arm(after.arms.state, 0))
        return (with_state(after, rows.arms(state)), total + losses), None

    nothing = jnp.zeros(start.arms.done.shape, jnp.result_type(float))
    return jax.lax.scan(step, (start, nothing), length=num_steps)[0]


class Search(NamedTuple):
    """A search for workers who spoil a gradient.

    - `sound`: workers known to be sound.
    - `lost`: workers whose losses are not finite.
    - `todo`: workers still to be tried.
    - `size`: how many of these to try next.
    - `start`: where those that have been tried started from.
    - `success`: whether the last attempt was sound.
    - `found`: the last attempt.
    """

    sound: WorkerMask
    lost: WorkerMask
    todo: WorkerMask
    size: IntScalar
    start: Trajectories
    success: BoolScalar
    found: Attempt

    def goes_on(self) -> BoolScalar:
        """True while somebody is untried, or the last attempt is not that of the sound ones."""
        return jnp.any(self.todo) | (~self.success & jnp.any(self.sound))

    def advance(self, attempt: Callable[[WorkerMask], Attempt]) -> "Search":
        """Tries the next few, together with those that are known to be sound."""
        group = self.todo & (jnp.cumsum(self.todo) <= self.size)
        found = attempt(self.sound | group)
        start = choose(group, found.start, self.start)
        unhealthy = group & ~jnp.isfinite(found.losses[0])
        success = ~jnp.any(unhealthy) & rows.all_finite(rows.repeat(found.grad, 1))[0]
        spoilt = jnp.where(jnp.any(unhealthy), unhealthy, group & (self.size == 1))
        settled = jnp.where(success, group, spoilt | start.arms.done[0])
        smaller = jnp.where(jnp.any(unhealthy), self.size, jnp.maximum(self.size // 2, 1))
        return Search(
            sound=jnp.where(success, self.sound | group, self.sound),
            lost=self.lost | unhealthy,
            todo=self.todo & ~settled,
            size=jnp.where(success, 2 * self.size, smaller),
            start=start,
            success=success,
            found=found,
        )


def leave_out_unsound(
    attempt: Callable[[WorkerMask], Attempt], running: WorkerMask, blank: Attempt
) -> Search:
    """The end of the search for workers whose losses and derivatives are finite.

    A derivative cannot be masked afterwards: zero times infinity is no number, and workers share
    one backward pass. So all are tried together, which most often is the end of it. If that
    fails, those without a finite loss are left out; where all losses are finite, ever smaller
    groups are tried along with the workers that are known to be sound, until who spoils the
    gradient is found. Workers that are over before their first step owe it nothing, and are left
    out in case they spoil it.
    """
    none, size = jnp.zeros_like(running), jnp.array(running.size)
    first = Search(none, none, running, size, blank.start, jnp.array(False), blank)
    return jax.lax.while_loop(Search.goes_on, lambda search: search.advance(attempt), first)
