"""Curves over seeds: means with bands, or the runs themselves where a band would mislead."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .intervals import find_groups, t_factor

MAX_POINTS = 400

_GROUPED = 0.25
"""A label is shown by run if its runs lie in two groups for this part of the curve.

The other reason is that they do for most of its last fifth.
"""


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean over the seeds of one label, with a band: 95 % t-intervals, or the range if `is_range`.

    `runs` has a row for each seed if they lie in two groups, so that neither would describe them.
    """

    label: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_seeds: int
    is_range: bool = False
    runs: np.ndarray | None = None

    @property
    def lines(self) -> list[np.ndarray]:
        """The heights of what is drawn: the mean, or every run."""
        return [self.mean] if self.runs is None else list(self.runs)


Pairs = list[tuple[np.ndarray, np.ndarray]]


def thinned(count: int, most: int) -> np.ndarray:
    """The places of at most so many of `count` points, for linear and for logarithmic axes.

    Half of them are evenly spread, half at even ratios, so that the first few are all there.
    """
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most // 2)
    ratios = np.geomspace(1, count - 1, most - most // 2)
    return np.unique(np.round(np.concatenate([even, ratios])).astype(int))


def finite_prefix(x: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values before the first that is not finite."""
    broken = np.flatnonzero(~np.isfinite(value))
    end = broken[0] if len(broken) else len(value)
    return x[:end], value[:end]


def mean_curve(label: str, pairs: Pairs, *, is_positive: bool = False) -> Curve | None:
    """Mean and band of curves, interpolated on the range that all of them cover.

    The band of a quantity that `is_positive` is the range of the runs where t-intervals would reach
    to zero or below.
    """
    pairs = [pair for pair in pairs if len(pair[0]) > 1]
    if not pairs:
        return None
    start, stop = max(x[0] for x, _ in pairs), min(x[-1] for x, _ in pairs)
    if start >= stop:
        return None
    # Where the runs have points, for a grid of even steps would have too few near the start.
    grid = np.unique(np.concatenate([x for x, _ in pairs]))
    grid = grid[(grid >= start) & (grid <= stop)]
    grid = grid[thinned(len(grid), MAX_POINTS)]
    values = np.stack([np.interp(grid, x, value) for x, value in pairs])
    mean = values.mean(axis=0)
    if len(values) == 1:
        return Curve(label, grid, mean, mean, mean, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        half_width = t_factor(len(values)) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    low, high = mean - half_width, mean + half_width
    is_range = bool(is_positive and np.any(low <= 0))
    if is_range:
        low, high = values.min(axis=0), values.max(axis=0)
    curve = Curve(label, grid, mean, low, high, len(values), is_range)
    return replace(curve, runs=values) if _is_grouped(values) else curve


def log_curve(label: str, pairs: Pairs) -> Curve | None:
    """Geometric mean with the band of the logarithms; NaN where a value is zero or below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [(x, np.where(value > 0, np.log(value), np.nan)) for x, value in pairs]
    curve = mean_curve(label, logs)
    return None if curve is None else transform_curve(curve, np.exp)


def transform_curve(curve: Curve, function: Callable) -> Curve:
    """The curve of an increasing function of the values."""
    with np.errstate(over="ignore"):
        return replace(
            curve,
            mean=function(curve.mean),
            low=function(curve.low),
            high=function(curve.high),
            runs=None if curve.runs is None else function(curve.runs),
        )


def _is_grouped(values: np.ndarray) -> bool:
    """True if the runs lie in two groups for a good part of the way, or for most of its end."""
    columns = [column for column in values.T if np.all(np.isfinite(column))]
    grouped = [len(find_groups(np.sort(column))) > 1 for column in columns]
    if not grouped:
        return False
    return bool(np.mean(grouped[4 * len(grouped) // 5 :]) > 0.5 or np.mean(grouped) > _GROUPED)
