"""Means over seeds with their 95 % intervals, and numbers with as many digits as they justify."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

MINUS = "\N{MINUS SIGN}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
TIMES_TEN = f"{THIN_SPACE}\N{MULTIPLICATION SIGN}{THIN_SPACE}10"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Interval:
    """A mean over `count` values with the ends of its 95 % t-interval.

    The ends and the standard error are NaN when there are fewer than two values. Where a t-interval
    would mislead the ends are the least and the greatest value, and `groups` has how many values
    there are from where to where: one group, or two that lie apart. An interval that
    `is_transformed` is not symmetric about the mean.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    count: int
    groups: tuple[tuple[int, float, float], ...] = ()
    is_transformed: bool = False

    @property
    def known(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


def t_factor(count: int) -> float:
    """Half the width of the 95 % interval of a mean of `count` values, in standard errors."""
    return float(special.stdtrit(count - 1, 0.975)) if count > 1 else math.nan


def t_interval(values: np.ndarray) -> Interval:
    """The 95 % t-interval of the mean of the finite values.

    mean ± t(0.975, n - 1) * s / sqrt(n)
    """
    finite = values[np.isfinite(values)]
    count = len(finite)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(finite))
        error = float(np.std(finite, ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    if count == 1:
        return Interval(mean, math.nan, math.nan, math.nan, 1)
    half_width = t_factor(count) * error
    return Interval(mean, mean - half_width, mean + half_width, error, count)


def spread(values: np.ndarray, *, is_positive: bool = False) -> Interval:
    """The t-interval of the finite values, or their range where that interval would mislead.

    It does if the values lie in two groups, for the mean is then like none of them, and if it
    reaches to zero or below for a quantity that `is_positive`.
    """
    interval = t_interval(values)
    finite = np.sort(values[np.isfinite(values)])
    groups = find_groups(finite)
    if len(groups) > 1 or (is_positive and interval.known and interval.low <= 0):
        ends = tuple((len(group), float(group[0]), float(group[-1])) for group in groups)
        return replace(interval, low=float(finite[0]), high=float(finite[-1]), groups=ends)
    return interval


def find_groups(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The two groups of some increasing values if there are two, else all of them as one.

    Each has two values at least, and a fifth of many; the gap is 12 / n times as wide as the wider
    of them. Of four to ten normal values this calls 2 to 6 % two groups, and fewer of more.
    """
    count, found, widest = len(values), (values,), 12.0 / max(len(values), 1)
    fewest = max(2, count // 5)
    for place in range(fewest, count - fewest + 1):
        low, high = values[:place], values[place:]
        gap, width = high[0] - low[-1], max(low[-1] - low[0], high[-1] - high[0])
        if gap > 0 and gap >= widest * width:
            found, widest = (low, high), gap / width if width > 0 else math.inf
    return found


def transform(interval: Interval, function: Callable[[float], float]) -> Interval:
    """The interval of an increasing function of a mean; of the logarithm, that is geometric."""
    if interval.count == 0:
        return interval
    step = 1e-6 * max(1.0, abs(interval.mean))
    slope = (function(interval.mean + step) - function(interval.mean - step)) / (2 * step)
    return replace(
        interval,
        mean=function(interval.mean),
        low=function(interval.low),
        high=function(interval.high),
        standard_error=slope * interval.standard_error,
        is_transformed=True,
        groups=tuple((n, function(low), function(high)) for n, low, high in interval.groups),
    )


def decimals_allowed(standard_error: float) -> int:
    """The decimals worth printing: one digit of the standard error, two if it starts with 1.

    Negative for errors of ten and more: -1 means rounding to tens.
    """
    exponent = math.floor(math.log10(standard_error))
    leading = round(standard_error / 10.0**exponent, 6)
    return -exponent + (1 if leading < 2 else 0)


def _decimals(interval: Interval) -> int:
    """As the standard error allows, at most six significant digits; without one, three."""
    exponent = math.floor(math.log10(abs(interval.mean))) if interval.mean else 0
    if interval.known and interval.standard_error > 0:
        return min(decimals_allowed(interval.standard_error), 5 - exponent)
    if interval.mean == 0:
        return 0
    if float(interval.mean).is_integer() and exponent < 6:
        return 0
    return 2 - exponent


def _unit(interval: Interval) -> tuple[float, str]:
    """The scale in which a mean is printed, or its error if that is larger, and its name."""
    known = interval.known and math.isfinite(interval.standard_error)
    size = max(abs(interval.mean), interval.standard_error if known else 0.0)
    if size == 0 or 1e-3 <= size < 1e6:
        return 1.0, ""
    if 1e6 <= size < 1e9:
        return 1e6, f"{THIN_SPACE}million"
    exponent = math.floor(math.log10(size))
    return 10.0**exponent, f"{TIMES_TEN}{superscript(exponent)}"


def superscript(exponent: int) -> str:
    return str(exponent).translate(_SUPERSCRIPTS)


def format_fixed(value: float, decimals: int) -> str:
    """A number rounded to so many decimals, with thin spaces between thousands."""
    rounded = round(value, decimals) + 0.0
    text = f"{abs(rounded):,.{max(decimals, 0)}f}"
    if abs(rounded) < 10_000:
        text = text.replace(",", "")
    return (MINUS if rounded < 0 else "") + text.replace(",", THIN_SPACE)


def format_mean(interval: Interval) -> str:
    """The mean, with the digits its standard error allows; a dash if there is none."""
    if interval.count == 0:
        return "–"
    scale, unit = _unit(interval)
    decimals = _decimals(interval) + round(math.log10(scale))
    return format_fixed(interval.mean / scale, decimals) + unit


def format_interval(interval: Interval) -> str:
    """The ends of the interval in the digits of its mean; empty if there are none.

    A range of runs is called one, and of two groups each has its own.
    """
    if not interval.known:
        return ""
    scale, unit = _unit(interval)
    decimals = _decimals(interval) + round(math.log10(scale))

    if len(interval.groups) > 1:
        return "; ".join(f"{n} runs {_range(*ends)}" for n, *ends in interval.groups)
    if interval.groups:
        return f"range {_range(interval.low, interval.high)}"
    if interval.is_transformed:
        return _range(interval.low, interval.high)
    low, high = (format_fixed(end / scale, decimals) for end in (interval.low, interval.high))
    return f"{low} to {high}{unit}"


def _range(low: float, high: float) -> str:
    """The least and the greatest of some values, which no error rounds."""
    return " to ".join(format_number(float(f"{end:.3g}")) for end in (low, high))


def format_estimate(interval: Interval) -> str:
    """The mean with the ends of its interval in brackets, if there are any."""
    ends = format_interval(interval)
    return format_mean(interval) + (f" ({ends})" if ends else "")


def format_number(value: float, digits: int = 6) -> str:
    """A given number, such as a threshold or an end of an expected range, at full length."""
    if not math.isfinite(value):
        return "no limit"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.{digits}g}" if abs(value) >= 10_000 else f"{value:.{digits}g}"
        return text.replace(",", THIN_SPACE).replace("-", MINUS)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", MINUS)
    return f"{mantissa}{TIMES_TEN}{superscript(int(exponent))}"


def format_range(low: float, high: float) -> str:
    """An expected range as text, open sides included."""
    if not math.isfinite(low) and not math.isfinite(high):
        return "any"
    if not math.isfinite(low):
        return f"at most {format_number(high)}"
    if not math.isfinite(high):
        return f"at least {format_number(low)}"
    return f"{format_number(low)} to {format_number(high)}"
