"""The workers of an estimator: clocks, births, and the spread over the episode."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, IntScalar, RandomKey, WorkerMask
from .._engine import Trajectories
from .._random import Purpose, stream


class Workers(eqx.Module):
    """Everything that passes from one estimate to the next.

    - `key`: the root of all randomness.
    - `update`: estimates made so far.
    - `birth`: the number of each worker's episode; no two episodes share one.
    - `trajectories`: the rows.
    - `carried`: what the kernel keeps for each worker; the workers' axis leads every leaf.
    """

    key: RandomKey
    update: IntScalar
    birth: Clocks
    trajectories: Trajectories
    carried: PyTree[Any]

    def births(self, newborn: WorkerMask) -> Clocks:
        """The births of all workers once some have begun anew."""
        return jnp.where(newborn, self.birth + self.birth.size, self.birth)

    def at(self, birth: Clocks, trajectories: Trajectories, carried: PyTree) -> "Workers":
        """The workers one update later."""
        return Workers(self.key, self.update + 1, birth, trajectories, carried)

    def where(self, mask: WorkerMask, other: "Workers") -> "Workers":
        """These workers where `mask` says so, the others elsewhere."""
        return Workers(
            self.key,
            self.update,
            jnp.where(mask, self.birth, other.birth),
            choose(mask, self.trajectories, other.trajectories),
            rows.where(mask, self.carried, other.carried),
        )


def choose(mask: WorkerMask, new: Trajectories, old: Trajectories) -> Trajectories:
    """Worker by worker, one of two sets of trajectories."""
    state, over = rows.where_worker(mask, (new.state, new.over), (old.state, old.over))
    clock = rows.where(mask, (new.t, new.end, new.key), (old.t, old.end, old.key))
    return Trajectories(state, over, *clock)


def take(trajectories: Trajectories, index: Int[Array, " workers"]) -> Trajectories:
    """The trajectories of the workers with these numbers."""
    pick = lambda tree, axis: jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)
    clock = pick((trajectories.t, trajectories.end, trajectories.key), 0)
    return Trajectories(pick(trajectories.state, 1), pick(trajectories.over, 1), *clock)


def data_keys(key: RandomKey, birth: Clocks) -> Key[Array, " workers"]:
    """The key of each episode's data: apart from that of its noise, so that one can be shared."""
    return jax.vmap(lambda b: stream(key, Purpose.DATA, b))(birth)


def enlist(key: RandomKey, trajectories: Trajectories, carried: PyTree) -> Workers:
    """Workers at the end of an episode: a birth is the same at the start as ever after."""
    birth = jnp.arange(trajectories.t.size)
    ended = eqx.tree_at(lambda x: x.over, trajectories, jnp.ones_like(trajectories.over))
    return Workers(key, jnp.zeros((), int), birth, ended, carried)


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
    """Runs each worker as many windows as its phase says; the states are real."""

    def window(workers, index):
        moved = advance(workers)
        return moved.where(index < phases, workers), None

    advanced, _ = jax.lax.scan(window, workers, jnp.arange(num_windows))
    return eqx.tree_at(lambda w: w.update, advanced, workers.update)
