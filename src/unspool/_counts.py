"""Counts are integers, everywhere."""

import dataclasses
import math
import operator
from typing import Any

LARGEST = 2**31 - 1
"""The largest clock: steps and updates are counted in 32 bits."""


def as_count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A count as a Python integer, be it one of NumPy.

    **Raises:** `ValueError` unless it is an integer of at least `least`, and at most `most`.
    """
    try:
        count = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = None
    if count is None or count < least or (most is not None and count > most):
        legal = least
        if isinstance(value, float) and math.isfinite(value):
            legal = max(least, round(value))
        legal = legal if count is None else max(least, count)
        legal = legal if most is None else min(most, legal)
        above = count is not None and count >= least
        bounds = f"of at most {most}" if above else f"of at least {least}"
        raise ValueError(
            f"{name} must be an integer {bounds}, got {value!r}; the nearest legal value is {legal}"
        )
    return count


def check_count(**arguments: Any) -> None:
    """Raises `ValueError` unless every argument is an integer of at least 1, or `None`."""
    for name, value in arguments.items():
        if value is not None:
            as_count(name, value)


def check_fields(record: Any) -> None:
    """Raises `ValueError` unless every field of a dataclass that is an `int` is at least 1."""
    counts = [field.name for field in dataclasses.fields(record) if field.type is int]
    check_count(**{name: getattr(record, name) for name in counts})


def check_divides(name: str, value: int, by_name: str, divisor: int) -> None:
    """Raises `ValueError` unless the second count divides the first."""
    if value % divisor > 0:
        below, above = value - value % divisor, value + divisor - value % divisor
        nearest = f"values are {below} and {above}" if below else f"value is {above}"
        raise ValueError(
            f"{name} must be a multiple of {by_name}={divisor}, got {value}; the nearest legal "
            f"{nearest}"
        )
