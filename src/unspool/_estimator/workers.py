"""The workers of an estimator: clocks, episodes, failures, and what is kept between estimates.

A worker of the kernels is a group: trajectories that share clock, keys and data. A group holds one
or more antithetic pairs, and at most one unperturbed arm that these share; without pairs it holds
one trajectory, which counts as its only pair here.
"""

import functools as ft
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from .. import _rows as rows
from .._custom_types import (
    BoolScalar,
    Clocks,
    IntScalar,
    PairClocks,
    PairMask,
    RandomKey,
    WorkerMask,
    WorkerValues,
)
from .._engine import AbstractEngine, Clock, Trajectories
from .._random import Purpose, numbered, stream
from .layout import Layout
from .plan import Plan
from .roster import Census, Roster
from .survival import Survival
from .trajectories import take

EARLIEST_UPDATE = -(2**30)
"""Updates have numbers below 0 while groups are spread; lower ones than this have overflowed."""


class PerWorker(eqx.Module):
    """The numbers that each group has one of.

    - `episode`: the id of its episode; no two episodes share one.
    - `weight`: inverse of the share of episodes that come through the next window.
    - `gain`: the factor by which that window itself makes the weight larger: how many of those
      that come into it one that comes through stands for. One while nothing fails.
    - `ramp`: how many times the next window counts while workers are still born; `None` where all
      are there from the first update.
    """

    episode: Clocks
    weight: WorkerValues
    gain: WorkerValues
    ramp: WorkerValues | None = None


class Workers(eqx.Module):
    """Everything that passes from one estimate to the next.

    - `data_key`, `noise_key`: the roots of all randomness, apart so that data can be shared
      among workers and noise not.
    - `update`: estimates made so far; negative during warm-up.
    - `each`: what each group has one of.
    - `failed`: pairs that have failed in the episode at hand. One whose length is known waits,
      frozen, until it would have ended: to reset at once would leave late windows behind. So does
      one whose first episode is still to begin.
    - `survival`: the share of episodes that come through each window, as far as is known.
    - `trajectories`: the rows.
    - `carried`: what the kernel keeps; every leaf leads with pairs (or arms, or 1) x workers.
    - `learned`: what all groups have learned together, without an axis of workers. It is read as
      it stands when a window begins; what a window adds to it is deposited after the sums over
      groups, so that chunks, parts and devices come to the same.
    - `num_workers`: how many groups there are, also where only some of them are at hand.
    - `layout`: the arms of a group.
    """

    data_key: RandomKey
    noise_key: RandomKey
    update: IntScalar
    each: PerWorker
    failed: PairMask
    survival: Survival
    trajectories: Trajectories
    carried: PyTree[Any]
    learned: PyTree[Any]
    num_workers: int = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    @property
    def num_pairs(self) -> int:
        """Pairs of all groups, also where only some of them are at hand."""
        return self.layout.pairs * self.num_workers

    def roster(self, engine: AbstractEngine) -> Roster:
        """The workers that take part in the next window."""
        reset = self._finds_end(engine)
        episode = jnp.where(reset, self.next_episodes(self.each.episode), self.each.episode)
        running = rows.repeat(reset, self.layout.pairs) | ~self.failed
        share = self.each.weight / self.num_pairs
        if self.each.ramp is not None:
            share = share * self.each.ramp
        return Roster(reset, episode, running, share)

    def _finds_end(self, engine: AbstractEngine) -> WorkerMask:
        """Groups that begin an episode next."""
        clock = self.trajectories.clock
        if not engine.ends_early:
            return clock.t >= clock.length
        first = self.each.episode < self.num_workers
        return jnp.where(first, clock.t >= clock.length, self.trajectories.all_done)

    def stagger(self, phases: Clocks, num_windows: int, window: int) -> "Workers":
        """These groups, each to begin its first episode as many windows before the first update
        as its phase says; `num_windows` of so many steps are run before that.

        Until then a group's clock is negative, and it waits as one that has failed does.
        """
        clock = replace(self.trajectories.clock, t=(phases - num_windows) * window)
        trajectories = replace(self.trajectories, clock=clock)
        return replace(self, trajectories=trajectories, update=self.update - num_windows)

    def on_ramp(self, engine: AbstractEngine, window: int) -> "Workers":
        """With what each group's next window counts for while groups are still born."""
        num_windows, t = self.survival.attempted.size, self.trajectories.clock.t
        index = jax.lax.div(jnp.where(self._finds_end(engine), 0, jnp.maximum(t, 0)), window)
        ramp = jnp.where(self.update < num_windows, num_windows / (num_windows - index), 1.0)
        return replace(self, each=replace(self.each, ramp=ramp))

    def next_episodes(self, episode: Clocks) -> Clocks:
        """The ids of the episodes that follow upon these; negative once they have run out."""
        return episode + self.num_workers

    def pair_numbers(self, episode: Clocks) -> PairClocks:
        """The number of each pair's direction: no two pairs of two episodes share one."""
        pair = jnp.arange(self.layout.pairs, dtype=episode.dtype)
        return jax.vmap(lambda j: episode * self.layout.pairs + j)(pair)

    @property
    def ran_out(self) -> BoolScalar:
        """True if a count was too large for its type, so that randomness would come again."""
        episode = self.each.episode
        largest = jnp.iinfo(episode.dtype).max // self.layout.pairs
        return jnp.any((episode < 0) | (episode > largest)) | (self.update < EARLIEST_UPDATE)

    def data_keys(self, episode: Clocks) -> Key[Array, " workers"]:
        """The key of each episode's data."""
        return jax.vmap(ft.partial(numbered, self.data_key))(episode)

    def after(
        self, roster: Roster, healthy: PairMask, trajectories: Trajectories, carried: PyTree
    ) -> "Workers":
        """The workers one update later. The arms of pairs that are not healthy are done."""
        failed = ~healthy
        arms, clock = trajectories.arms, trajectories.clock
        done = arms.done | self.layout.arms_of(failed)
        return replace(
            self,
            update=self.update + 1,
            each=replace(self.each, episode=roster.episode),
            failed=failed,
            trajectories=Trajectories(replace(arms, done=done), clock),
            carried=carried,
        )

    def learn_survival(
        self, before: "Workers", engine: AbstractEngine, window: int
    ) -> "tuple[Workers, Census]":
        """With what the window of so many steps since `before` says of survival, and who ran it.

        After warm-up nothing is counted, and nothing paid for it, before the first failure; the
        updates until then are taken for even, each window being attempted as often as another.
        """
        t = self.trajectories.clock.t

        # Weights of the next window are looked up here and kept: a branch of their own at its
        # start would cost a small problem as much again.
        def learn_now():
            begun = self.each.episode != before.each.episode
            attempted = ~before.failed | rows.repeat(begun, self.layout.pairs)
            healthy = attempted & ~self.failed
            stood_for = jnp.sum(rows.repeat(before.each.gain, self.layout.pairs), where=healthy)
            census = Census(jnp.sum(attempted), jnp.sum(healthy), stood_for)
            known = self.survival.after_even_updates(jnp.maximum(before.update, 0), attempted.size)
            started = jnp.where(begun, 0, before.trajectories.clock.t)
            window_before = jax.lax.div(started, window)
            survival = known.observe(window_before, attempted, attempted & self.failed)
            window_after = jax.lax.div(jnp.where(self._finds_end(engine), 0, t), window)
            weights = survival.weigh(window_after, self.num_pairs, engine.ends_early)
            return (survival, *weights), census

        size = jnp.full((), self.failed.size)
        every = Census(size, size, size.astype(jnp.result_type(float)))
        known = self.survival, self.each.weight, self.each.gain
        (survival, weight, gain), census = jax.lax.cond(
            ~self.survival.is_certain | jnp.any(self.failed) | (before.update < 0),
            learn_now,
            lambda: (known, every),
        )
        each = replace(self.each, weight=weight, gain=gain)
        return replace(self, survival=survival, each=each), census


class Origin(NamedTuple):
    """The state that all groups begin from.

    - `trajectory`: that of one group, of any parameters.
    - `carried`: what the kernel keeps for it.
    - `layout`: its arms.
    - `learned`: what groups learn together.
    """

    trajectory: Trajectories
    carried: PyTree[Any] = None
    layout: Layout = Layout()
    learned: PyTree[Any] = None


def begin_workers(key: RandomKey, plan: Plan, origin: Origin) -> Workers:
    """Groups at the end of an episode: a reset is the same at the start as ever after."""
    groups, pairs = plan.num_groups, origin.layout.pairs
    first = jnp.zeros(groups, int)
    trajectories = take(origin.trajectory, first)
    clock = Clock(jnp.zeros_like(first), jnp.zeros_like(first), trajectories.clock.key)
    arms = replace(trajectories.arms, done=jnp.ones_like(trajectories.arms.done))
    return Workers(
        data_key=stream(key, Purpose.DATA),
        noise_key=stream(key, Purpose.NOISE),
        update=jnp.zeros((), int),
        each=PerWorker(jnp.arange(groups), jnp.ones(groups), jnp.ones(groups)),
        failed=jnp.ones((pairs, groups), bool),
        survival=Survival.of(plan.num_windows),
        trajectories=Trajectories(arms, clock),
        carried=jax.tree.map(lambda x: jnp.take(x, first, axis=1), origin.carried),
        learned=origin.learned,
        num_workers=groups,
        layout=origin.layout,
    )
