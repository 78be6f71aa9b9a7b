"""Parameters in their own units: what is logged as `log rate` or `logit share` is drawn as that."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from .._statistics.intervals import Interval, transform


class OwnUnits(NamedTuple):
    """The name of a parameter, its value as a function of what is logged, and its axis' scale."""

    name: str
    value: Callable | None
    scale: str


def own_units(name: str) -> OwnUnits:
    """The own units of a parameter that is logged under this name.

    `log x` is the natural logarithm of x, and `logit x` that of x / (1 - x).
    """
    kind, _, rest = name.partition(" ")
    if kind == "log" and rest:
        return OwnUnits(rest, np.exp, "log")
    if kind == "logit" and rest:
        return OwnUnits(rest, special.expit, "linear")
    return OwnUnits(name, None, "linear")


def in_own_units(interval: Interval, name: str) -> Interval:
    """The interval of a parameter in its own units."""
    value = own_units(name).value
    return interval if value is None else transform(interval, lambda x: float(value(x)))
