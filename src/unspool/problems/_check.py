"""Checks of a problem's fields, with errors that name the field, its value and a legal one."""

import math

from .._counts import as_count


def check_integer(name: str, value: object, least: int = 1) -> None:
    as_count(name, value, least)


def check_not_negative(name: str, value: float) -> None:
    if not value >= 0 or not math.isfinite(value):
        raise ValueError(
            f"{name} must be a finite number of at least 0, got {value!r}; "
            "the nearest legal value is 0.0"
        )


def check_positive(name: str, value: float) -> None:
    if not value > 0 or not math.isfinite(value):
        raise ValueError(
            f"{name} must be a finite number above 0, got {value!r}; "
            "the nearest legal values are those just above 0"
        )
