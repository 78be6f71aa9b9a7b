"""Spaces of hyperparameters: schedules by name, one for all or one for each of several groups."""

from typing import Any

import equinox as eqx
import jax

from ... import _rows as rows
from ..._custom_types import IntScalar, Params
from .families import AbstractSchedule
from .transforms import is_transform


class PerGroup(eqx.Module):
    """Schedules of one family for `count` groups, with coordinates of their own.

    Its value is a vector of shape (count,): the active units of each layer, say.
    """

    schedule: AbstractSchedule
    count: int

    def __check_init__(self):
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"count must be an integer of at least 1, got {self.count!r}")


class PerTensor(eqx.Module):
    """Schedules of one family for every tensor of the weights, with coordinates of their own.

    The optimizer is then made once for each tensor, with that tensor's value, and sees that tensor
    alone.
    """

    schedule: AbstractSchedule


Entry = AbstractSchedule | PerGroup | PerTensor
Space = dict[str, Any]
"""An `Entry` for each name, as `check_space` makes sure."""


def check_space(name: str, space: Any) -> None:
    """Raises `ValueError` that calls the space `name` unless it is one."""
    if not isinstance(space, dict):
        raise ValueError(f"{name} must be a dictionary of schedules by name, got {space!r}")
    for key, entry in space.items():
        if not isinstance(entry, Entry):
            raise ValueError(
                f"{name}[{key!r}] must be a schedule such as Constant(0.1), got {entry!r}"
            )


def init_space(space: Space, num_tensors: int) -> Params:
    """The coordinates at the start, by name."""
    return {name: _init(entry, num_tensors) for name, entry in space.items()}


def natural_units_in(space: Space, params: Params) -> Params:
    """The same tree in the hyperparameters' natural units."""

    def one(entry: Entry, coordinates):
        if isinstance(entry, AbstractSchedule):
            return entry.natural_units(coordinates)
        return jax.vmap(entry.schedule.natural_units)(coordinates)

    return {name: one(entry, params[name]) for name, entry in space.items()}


def coordinate_names_in(space: Space) -> Params:
    """The name of every coordinate in the tree of the parameters: `log {}` for a logarithm."""

    def one(entry: Entry):
        schedule = entry if isinstance(entry, AbstractSchedule) else entry.schedule
        name = lambda transform: transform.coordinate_name
        return jax.tree.map(name, schedule.transforms(), is_leaf=is_transform)

    return {name: one(entry) for name, entry in space.items()}


def values_in(space: Space, params: Params, t: IntScalar | int, horizon: int) -> dict[str, Any]:
    """The hyperparameters at step `t`: scalars, and vectors of `PerGroup` and `PerTensor`."""

    def one(entry: Entry, coordinates):
        if isinstance(entry, AbstractSchedule):
            return entry.value(coordinates, t, horizon)
        return jax.vmap(lambda x: entry.schedule.value(x, t, horizon))(coordinates)

    return {name: one(entry, params[name]) for name, entry in space.items()}


def _init(entry: Entry, num_tensors: int):
    if isinstance(entry, AbstractSchedule):
        return entry.init()
    count = entry.count if isinstance(entry, PerGroup) else num_tensors
    return rows.repeat(entry.schedule.init(), count)
