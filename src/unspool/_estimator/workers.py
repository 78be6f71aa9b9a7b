"""The workers of an estimator: clocks, births, and the spread over the episode."""

import functools as ft
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from .. import _rows as rows
from .._custom_types import (
    BoolScalar,
    Clocks,
    IntScalar,
    RandomKey,
    Scalar,
    WorkerMask,
    WorkerValues,
)
from .._engine import AbstractEngine, Trajectories
from .._random import Purpose, numbered, stream
from .survival import Survival


class Roster(NamedTuple):
    """Who takes part in a window, and how much each counts for.

    - `newborn`: workers that begin an episode; `birth`: the number of everyone's.
    - `running`: workers that are not waiting for the end of an episode in which they failed.
    - `share`: what a worker's gradient is multiplied by if it comes through the window. While
      nothing fails, all have an equal share and they add up to one.
    - `gain`: by how much the window itself makes it larger: how many workers of those that have
      come into it one that comes through stands for, and so one while nothing fails.
    """

    newborn: WorkerMask
    birth: Clocks
    running: WorkerMask
    share: WorkerValues
    gain: WorkerValues


class Census(NamedTuple):
    """How many workers took part in a window.

    - `attempted`: those that ran it.
    - `healthy`: those that came through, with finite losses and derivatives.
    - `stood_for`: how many of those that came into the window these stand for.
    """

    attempted: IntScalar
    healthy: IntScalar
    stood_for: Scalar


class Workers(eqx.Module):
    """Everything that passes from one estimate to the next.

    - `data_key`, `noise_key`: the roots of all randomness, apart so that data can be shared
      among workers and noise not.
    - `update`: estimates made so far; negative while the workers are being spread.
    - `birth`: the number of each worker's episode; no two episodes share one.
    - `failed`: workers that have failed in the episode at hand. One whose length is known waits,
      frozen, until it would have ended: to begin at once would leave late windows behind. So does
      one whose first episode is still to begin.
    - `survival`: what the workers have learned together of how many come through each window.
    - `weight`, `gain`: what that makes of each worker in the next one, see `Roster`.
    - `trajectories`: the rows.
    - `carried`: what the kernel keeps for each worker; the workers' axis leads every leaf.
    - `num_workers`: how many there are, also where only some of them are at hand.
    """

    data_key: RandomKey
    noise_key: RandomKey
    update: IntScalar
    birth: Clocks
    failed: WorkerMask
    weight: WorkerValues
    gain: WorkerValues
    survival: Survival
    trajectories: Trajectories
    carried: PyTree[Any]
    num_workers: int = eqx.field(static=True)

    def roster(self, engine: AbstractEngine) -> Roster:
        """Who takes part in the next window."""
        newborn = self._ended(engine)
        birth = jnp.where(newborn, self.next_births(self.birth), self.birth)
        running = newborn | ~self.failed
        return Roster(newborn, birth, running, self.weight / self.num_workers, self.gain)

    def _ended(self, engine: AbstractEngine) -> WorkerMask:
        """Workers that begin an episode next."""
        at = self.trajectories
        if not engine.ends_early:
            return at.t >= at.end
        return jnp.where(self.birth < self.num_workers, at.t >= at.end, at.ended)

    def spread(self, phases: Clocks, num_windows: int, window: int) -> "Workers":
        """These workers, each to begin its first episode as many windows before the first update
        as its phase says; `num_windows` of so many steps are run before that.

        Until then a worker's clock is negative, and it waits as one that has failed does.
        """
        clock = (phases - num_windows) * window
        places = lambda w: (w.trajectories.t, w.update)
        return eqx.tree_at(places, self, (clock, self.update - num_windows))

    def next_births(self, birth: Clocks) -> Clocks:
        """The births that follow upon these; negative once numbers have run out."""
        return birth + self.num_workers

    @property
    def ran_out(self) -> BoolScalar:
        """Whether a count was too large for its type, so that randomness would come again."""
        return jnp.any(self.birth < 0) | (self.update < -(2**30))

    def data_keys(self, birth: Clocks) -> Key[Array, " workers"]:
        """The key of each episode's data."""
        return jax.vmap(ft.partial(numbered, self.data_key))(birth)

    def after(
        self, roster: Roster, healthy: WorkerMask, trajectories: Trajectories, carried: PyTree
    ) -> "Workers":
        """The workers one update later; the episodes of those that are not healthy are over."""
        failed = ~healthy
        arms = jax.vmap(lambda row: row | failed)(trajectories.over)
        trajectories = eqx.tree_at(lambda x: x.over, trajectories, arms)
        leading = roster.birth, failed, self.weight, self.gain, trajectories.clock, carried
        return self._join(self.update + 1, trajectories.arms, leading)

    def learn(
        self, before: "Workers", engine: AbstractEngine, window: int
    ) -> "tuple[Workers, Census]":
        """With what the window of so many steps since `before` says of survival, and who ran it.

        Once all workers are spread nothing is counted, and nothing paid for it, before the first
        failure; the updates until then are taken for even, each window being attempted as often as
        another.
        """
        t = self.trajectories.t

        # Weights of the next window are looked up here and kept: a branch of their own at its
        # start would cost a small problem as much again.
        def learn_now():
            attempted = ~before.failed | (self.birth != before.birth)
            healthy = attempted & ~self.failed
            stood_for = jnp.sum(before.gain, where=healthy)
            census = Census(jnp.sum(attempted), jnp.sum(healthy), stood_for)
            known = self.survival.after_even_updates(jnp.maximum(before.update, 0), t.size)
            window_before = jax.lax.div(t - 1, window)
            survival = known.observe(window_before, attempted, attempted & self.failed)
            window_after = jax.lax.div(jnp.where(self._ended(engine), 0, t), window)
            weights = survival.weigh(window_after, self.num_workers, engine.ends_early)
            return (survival, *weights), census

        size = jnp.full((), t.size)
        every = Census(size, size, size.astype(jnp.result_type(float)))
        found, census = jax.lax.cond(
            ~self.survival.is_certain | jnp.any(self.failed) | (before.update < 0),
            learn_now,
            lambda: ((self.survival, self.weight, self.gain), every),
        )
        return eqx.tree_at(lambda w: (w.survival, w.weight, w.gain), self, found), census

    def block(self, start: IntScalar | int, size: int) -> "Workers":
        """Some neighboring workers."""
        arms, leading = self._split()
        arms = rows.block(arms, start, size, axis=1)
        return self._join(self.update, arms, rows.block(leading, start, size, axis=0))

    def put_block(self, new: "Workers", start: IntScalar | int) -> "Workers":
        """All workers, with those from `start` on replaced; the inverse of `block`."""
        (arms, leading), (new_arms, new_leading) = self._split(), new._split()
        arms = rows.put_block(arms, new_arms, start, axis=1)
        return self._join(new.update, arms, rows.put_block(leading, new_leading, start, axis=0))

    def _split(self):
        """What has an axis of arms before that of workers, and what has not."""
        clock = self.trajectories.clock
        leading = self.birth, self.failed, self.weight, self.gain, clock, self.carried
        return self.trajectories.arms, leading

    def _join(self, update, arms, leading):
        birth, failed, weight, gain, clock, carried = leading
        return Workers(
            self.data_key,
            self.noise_key,
            update,
            birth,
            failed,
            weight,
            gain,
            self.survival,
            Trajectories.of(arms, clock),
            carried,
            self.num_workers,
        )


def choose(mask: WorkerMask, new: Trajectories, old: Trajectories) -> Trajectories:
    """Worker by worker, one of two sets of trajectories."""
    arms = rows.where_worker(mask, new.arms, old.arms)
    return Trajectories.of(arms, rows.where(mask, new.clock, old.clock))


def take(trajectories: Trajectories, index: Int[Array, " workers"]) -> Trajectories:
    """The trajectories of the workers with these numbers."""
    pick = lambda tree, axis: jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)
    return Trajectories.of(pick(trajectories.arms, 1), pick(trajectories.clock, 0))


def enlist(
    key: RandomKey, num_workers: int, num_windows: int, trajectory: Trajectories, carried: PyTree
) -> Workers:
    """Workers at the end of an episode: a birth is the same at the start as ever after.

    One worker's `trajectory`, of any parameters, and what is `carried` for it stand in for all.
    """
    birth, first = jnp.arange(num_workers), jnp.zeros(num_workers, int)
    trajectories = take(trajectory, first)
    of_end = jnp.zeros_like(first), jnp.zeros_like(first), jnp.ones_like(trajectories.over)
    ended = eqx.tree_at(lambda x: (x.t, x.end, x.over), trajectories, of_end)
    carried = jax.tree.map(lambda x: jnp.take(x, first, axis=0), carried)
    return Workers(
        data_key=stream(key, Purpose.DATA),
        noise_key=stream(key, Purpose.NOISE),
        update=jnp.zeros((), int),
        birth=birth,
        failed=jnp.ones(num_workers, bool),
        weight=jnp.ones(num_workers),
        gain=jnp.ones(num_workers),
        survival=Survival.of(num_windows),
        trajectories=ended,
        carried=carried,
        num_workers=num_workers,
    )
