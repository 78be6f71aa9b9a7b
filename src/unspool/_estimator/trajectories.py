"""Trajectories of some workers among others, and in other states."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .. import _rows as rows
from .._custom_types import WorkerMask
from .._engine import Trajectories


def choose(mask: WorkerMask, new: Trajectories, old: Trajectories) -> Trajectories:
    """Worker by worker, one of two sets of trajectories."""
    arms = rows.select_worker(mask, new.arms, old.arms)
    return Trajectories(arms, rows.select(mask, new.clock, old.clock))


def take(trajectories: Trajectories, index: Int[Array, " workers"]) -> Trajectories:
    """The trajectories of the workers with these numbers."""
    pick = lambda tree, axis: jax.tree.map(lambda x: jnp.take(x, index, axis=axis), tree)
    return Trajectories(pick(trajectories.arms, 1), pick(trajectories.clock, 0))


def with_state(trajectories: Trajectories, state: PyTree[Any]) -> Trajectories:
    """The same trajectories in another state."""
    return replace(trajectories, arms=replace(trajectories.arms, state=state))
