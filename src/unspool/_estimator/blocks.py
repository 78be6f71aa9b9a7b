"""Some neighboring groups of all workers, taken out and put back."""

from dataclasses import replace
from typing import Any

from .. import _rows as rows
from .._custom_types import IntScalar
from .._engine import Trajectories
from .workers import Workers


def take_block(workers: Workers, start: IntScalar | int, size: int) -> Workers:
    """The `size` groups from `start` on."""
    arms, groups = _split(workers)
    arms = rows.take_slice(arms, start, size, axis=1)
    return _join(workers, arms, rows.take_slice(groups, start, size, axis=0))


def update_block(workers: Workers, block: Workers, start: IntScalar | int) -> Workers:
    """All groups, with those from `start` on replaced; the inverse of `take_block`."""
    (arms, groups), (new_arms, new_groups) = _split(workers), _split(block)
    arms = rows.update_slice(arms, new_arms, start, axis=1)
    groups = rows.update_slice(groups, new_groups, start, axis=0)
    # What all share has moved on in the same way in each block.
    return replace(_join(workers, arms, groups), update=block.update, learned=block.learned)


def _split(workers: Workers) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields with an axis before that of groups, and those without."""
    trajectories = workers.trajectories
    arms = {"arms": trajectories.arms, "failed": workers.failed, "carried": workers.carried}
    return arms, {"clock": trajectories.clock, "each": workers.each}


def _join(workers: Workers, arms: dict[str, Any], groups: dict[str, Any]) -> Workers:
    trajectories = Trajectories(arms["arms"], groups["clock"])
    kept = {"failed": arms["failed"], "carried": arms["carried"], "each": groups["each"]}
    return replace(workers, trajectories=trajectories, **kept)
