"""The class and the fields of a learned optimizer in a file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..problems import learned_optimizer as _library
from ..problems.learned_optimizer import AbstractLearnedOptimizer, Frozen

OptimizerOrClass = AbstractLearnedOptimizer | type[AbstractLearnedOptimizer]


def make_optimizer(
    path: Path, name: str, fields: dict[str, Any], given: OptimizerOrClass | None
) -> AbstractLearnedOptimizer:
    """The optimizer that a file describes; only this library's classes are found by their names."""
    if isinstance(given, AbstractLearnedOptimizer):
        own = class_name(type(given)), fields_of(given)
        if _last(own[0]) != _last(name) or own[1] != fields:
            raise ValueError(
                f"{path} was saved of {_call(name, fields)}: optimizer must be that, got "
                f"{_call(*own)}"
            )
        return given
    make = _library_classes().get(name) if given is None else given
    if make is None:
        raise ValueError(
            f"{path} was saved of {name!r}, which is no class of this library, and nothing is "
            "imported because of a file: pass the class or an instance, load_optimizer(path, "
            "optimizer=...), or on the command line --optimizer FILE.py:CLASS"
        )
    if _last(class_name(make)) != _last(name):
        raise ValueError(f"{path} was saved of {name!r}: optimizer must be that, got {make!r}")
    try:
        return make(**fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no legal {_call(name, fields)}: {error}") from error


def _library_classes() -> dict[str, type[AbstractLearnedOptimizer]]:
    """The exported learned optimizers by their names, which can be made of plain fields."""
    return {
        name: value
        for name, value in vars(_library).items()
        if isinstance(value, type)
        and issubclass(value, AbstractLearnedOptimizer)
        and value not in (AbstractLearnedOptimizer, Frozen)
    }


def class_name(cls: type) -> str:
    """The exported name of a class of the library, `module:Class` of another."""
    if _library_classes().get(cls.__name__) is cls:
        return cls.__name__
    return f"{cls.__module__}:{cls.__qualname__}"


def _last(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def _call(name: str, fields: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in fields.items())})"


def fields_of(optimizer: AbstractLearnedOptimizer) -> dict[str, Any]:
    """The fields of an optimizer by name."""
    found = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.init}
    for name, value in found.items():
        if not _is_plain(value):
            raise ValueError(
                f"the fields of a learned optimizer must be numbers, words, or tuples of them, got "
                f"{value!r} for {name}"
            )
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def field_from_json(value: Any) -> Any:
    """A value that was read from JSON, which has lists for tuples."""
    if isinstance(value, list):
        return tuple(map(field_from_json, value))
    if not _is_plain(value):
        raise TypeError(f"{value!r} is no field of a learned optimizer")
    return value
