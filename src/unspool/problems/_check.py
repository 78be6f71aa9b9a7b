"""Checks of a problem's fields, with errors that name the field, its value and a legal one."""

import math


def check_integer(name: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or value < least:
        legal = least
        if isinstance(value, float) and math.isfinite(value):
            legal = max(least, round(value))
        raise ValueError(
            f"{name} must be an integer of at least {least}, got {value!r}; "
            f"the nearest legal value is {legal}"
        )


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
