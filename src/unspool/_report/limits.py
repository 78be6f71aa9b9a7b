"""The ends of a value axis."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .._statistics.curves import Curve

DRAWABLE = 1e200
"""The largest value on a log axis; ticks beyond it would overflow."""


class ValueLimits(NamedTuple):
    """The ends of a value axis, and whether they cut off a curve."""

    low: float
    high: float
    cut: bool


def value_limits(
    curves: Sequence[Curve], scale: str, *, higher_is_better: bool = False
) -> ValueLimits:
    """The ends of the value axis for some curves.

    Bands may leave the figure; means do so only on a linear axis, above ten times the range
    between the highest start and the lowest value; below that where values rise.
    """
    if higher_is_better and scale == "linear":
        low, high, cut = value_limits([_mirrored(curve) for curve in curves], scale)
        return ValueLimits(low=-high, high=-low, cut=cut)
    drawn = np.concatenate([line for curve in curves for line in curve.lines])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    bands = [curve for curve in curves if curve.runs is None]
    bands_low = min((float(np.nanmin(curve.low)) for curve in bands), default=low)
    bands_high = max((float(np.nanmax(curve.high)) for curve in bands), default=high)
    if scale == "log":
        span = max(high / low, 1.2)
        bottom = min(low, max(bands_low, low / span**0.15))
        top = max(high, min(bands_high, high * span**0.15))
        margin = max((top / bottom) ** 0.04, 1.02)
        farthest = 1.0 / DRAWABLE, DRAWABLE
        bottom, top = np.clip([bottom / margin, top * margin], *farthest).tolist()
        return ValueLimits(low=bottom, high=top, cut=high > DRAWABLE)
    start = max(float(line[0]) for curve in curves for line in curve.lines)
    cut = start > low and high > start + 9 * (start - low)
    high = start + 2 * (start - low) if cut else high
    span = (high - low) or abs(high) or 1.0
    bottom, top = min(low, max(bands_low, low - 0.3 * span)), high
    if not cut:
        top = max(high, min(bands_high, high + 0.3 * span))
    return ValueLimits(low=bottom - 0.04 * span, high=top + 0.04 * span, cut=cut)


def _mirrored(curve: Curve) -> Curve:
    return replace(
        curve,
        mean=-curve.mean,
        low=-curve.high,
        high=-curve.low,
        runs=None if curve.runs is None else -curve.runs,
    )
