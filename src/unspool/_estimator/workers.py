"""The workers of an estimator: clocks, births, and the spread over the episode."""

import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, IntScalar, RandomKey, WorkerMask
from .._engine import Trajectories
from .._random import Purpose, numbered, stream


class Workers(eqx.Module):
    """Everything that passes from one estimate to the next.

    - `data_key`, `noise_key`: the roots of all randomness, apart so that data can be shared
      among workers and noise not.
    - `update`: estimates made so far.
    - `birth`: the number of each worker's episode; no two episodes share one.
    - `trajectories`: the rows.
    - `carried`: what the kernel keeps for each worker; the workers' axis leads every leaf.
    - `num_workers`: how many there are, also where only some of them are at hand.
    """

    data_key: RandomKey
    noise_key: RandomKey
    update: IntScalar
    birth: Clocks
    trajectories: Trajectories
    carried: PyTree[Any]
    num_workers: int = eqx.field(static=True)

    def births(self, newborn: WorkerMask) -> Clocks:
        """The births of all workers once some have begun anew."""
        return jnp.where(newborn, self.next_births(self.birth), self.birth)

    def next_births(self, birth: Clocks) -> Clocks:
        """The births that follow upon these."""
        return birth + self.num_workers

    def data_keys(self, birth: Clocks) -> Key[Array, " workers"]:
        """The key of each episode's data."""
        return jax.vmap(ft.partial(numbered, self.data_key))(birth)

    def at(self, birth: Clocks, trajectories: Trajectories, carried: PyTree) -> "Workers":
        """The workers one update later."""
        return self._with(self.update + 1, birth, trajectories, carried)

    def where(self, mask: WorkerMask, other: "Workers") -> "Workers":
        """These workers where `mask` says so, the others elsewhere."""
        trajectories = choose(mask, self.trajectories, other.trajectories)
        birth, carried = rows.where(mask, (self.birth, self.carried), (other.birth, other.carried))
        return self._with(self.update, birth, trajectories, carried)

    def block(self, start: IntScalar | int, size: int) -> "Workers":
        """Some neighbouring workers."""
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
        return self.trajectories.arms, (self.birth, self.trajectories.clock, self.carried)

    def _join(self, update, arms, leading):
        birth, clock, carried = leading
        return self._with(update, birth, Trajectories(*arms, *clock), carried)

    def _with(self, update, birth, trajectories, carried):
        return Workers(
            self.data_key,
            self.noise_key,
            update,
            birth,
            trajectories,
            carried,
            self.num_workers,
        )


def choose(mask: WorkerMask, new: Trajectories, old: Trajectories) -> Trajectories:
    """Worker by worker, one of two sets of trajectories."""
    arms = rows.where_worker(mask, new.arms, old.arms)
    return Trajectories(*arms, *rows.where(mask, new.clock, old.clock))


def take(trajectories: Trajectories, index: Int[Array, " workers"]) -> Trajectories:
    """The trajectories of the workers with these numbers."""
    pick = lambda tree, axis: jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)
    return Trajectories(*pick(trajectories.arms, 1), *pick(trajectories.clock, 0))


def enlist(key: RandomKey, num_workers: int, trajectory: Trajectories, carried: PyTree) -> Workers:
    """Workers at the end of an episode: a birth is the same at the start as ever after.

    One worker's `trajectory`, of any parameters, and what is `carried` for it stand in for all.
    """
    birth, first = jnp.arange(num_workers), jnp.zeros(num_workers, int)
    trajectories = take(trajectory, first)
    ended = eqx.tree_at(lambda x: x.over, trajectories, jnp.ones_like(trajectories.over))
    carried = jax.tree.map(lambda x: jnp.take(x, first, axis=0), carried)
    data_key, noise_key = stream(key, Purpose.DATA), stream(key, Purpose.NOISE)
    start = jnp.zeros((), int)
    return Workers(data_key, noise_key, start, birth, ended, carried, num_workers)


def retire(workers: Workers, mask: WorkerMask) -> Workers:
    """Ends the episodes of some workers, which then start anew."""
    over = jax.vmap(lambda row: row | mask)(workers.trajectories.over)
    return eqx.tree_at(lambda w: w.trajectories.over, workers, over)


def warm_up(
    advance: Callable[[Workers], Workers],
    workers: Workers,
    phases: Int[Array, " workers"],
    num_windows: int,
) -> Workers:
    """Runs each worker as many windows as its phase says; the states are real.

    What a worker does before its turn is of no consequence, so that a simulator, which cannot be
    put back, is good for this too: its episode begins anew until it counts.
    """

    def window(workers, index):
        moved = advance(workers).where(index >= num_windows - phases, workers)
        return eqx.tree_at(lambda w: w.update, moved, workers.update), None

    return jax.lax.scan(window, workers, jnp.arange(num_windows))[0]
