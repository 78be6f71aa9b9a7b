"""The line figures of the page: the metric against its costs, parameters, further charts."""

from collections.abc import Sequence

import numpy as np

from .._statistics.curves import Curve, transform_curve
from .._statistics.intervals import format_number
from .._statistics.summarize import (
    LabelSummary,
    Metric,
    diagnostic_curve,
    metric_curve,
    parameter_curve,
)
from ..records import Chart, Series
from ..records.files import as_array
from .axes import count_unit
from .data import Line
from .drawing import Axis, Colors, Drawing, Panel, draw_panels
from .labels import list_labels
from .limits import value_limits
from .units import own_units

WIDE_RATIO = 20.0
"""The longest curve may be this many times as long as the shortest on a linear axis."""

LOG_SPAN = 30.0
"""A logarithmic axis begins at the end of the shortest curve divided by this, or later."""

AXIS_LABELS = {
    "update": "updates",
    "steps": "problem steps, warm-up included",
    "sequential_steps": "sequential steps, warm-up included",
    "seconds": "training time in seconds, compilation excluded",
}
DIAGNOSTICS = {
    "signal_to_noise": "signal to noise",
    "lag": "lag in sigmas",
    "sigma": "sigma",
}
T_INTERVAL, LOG_INTERVAL, RANGE = "t95", "t95-log", "range"
"""What a band is: 95 % t-intervals of the mean, such of logarithms, or the range of the runs."""


def draw_metric(
    summaries: Sequence[LabelSummary], metric: Metric, axis: str, colors: Colors, name: str
) -> Drawing | None:
    """The metric of all labels against one axis, mean and 95 % band; None if there is no curve."""
    found = (metric_curve(summary, metric, axis) for summary in summaries)
    curves = [curve for curve in found if curve is not None and np.any(np.isfinite(curve.mean))]
    if not curves:
        return None
    x, notes = _cost_axis(curves, axis)
    low, high, cut = value_limits(curves, metric.scale, higher_is_better=metric.higher_is_better)
    if cut:
        notes.append(_cut_note(low if metric.higher_is_better else high))
    notes += _band_notes(curves)
    description = f"Line chart of {metric.name} against {AXIS_LABELS[axis]}. " + "; ".join(
        f"{c.label} goes from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for c in curves
    )
    rules = [time.threshold for time in summaries[0].times_to_target]
    lines = [line for curve in curves for line in _lines(curve, metric.scale)]
    panel = Panel(x, Axis(metric.name, metric.scale, low, high), lines, rules)
    return draw_panels([panel], colors, name, description + ".", notes)


def _cost_axis(curves: Sequence[Curve], axis: str) -> tuple[Axis, list[str]]:
    """The horizontal axis of some curves, and what the caption must say of it."""
    ends = [float(curve.x[-1]) for curve in curves]
    unit, unit_name = count_unit(max(ends)) if axis.endswith("steps") else (1.0, "")
    if max(ends) <= WIDE_RATIO * min(ends):
        return Axis(AXIS_LABELS[axis], "linear", 0.0, max(ends), unit, unit_name), []
    first = min(float(x) for curve in curves for x in curve.x[curve.x > 0][:1])
    left = max(first, min(ends) / LOG_SPAN)
    note = "The horizontal axis is logarithmic, since the runs differ much in length."
    starts = [f"{c.label} {_short(c.mean[0])}" for c in curves if c.x[0] <= 0]
    if starts:
        note += f" It has no place for 0, where the values are: {', '.join(starts)}."
    return Axis(AXIS_LABELS[axis], "log", left, max(ends), unit, unit_name), [note]


def _band_notes(curves: Sequence[Curve]) -> list[str]:
    """What is drawn otherwise than as a mean with its t-interval."""
    notes = []
    ranges = [curve.label for curve in curves if curve.is_range and curve.runs is None]
    if ranges:
        notes.append(
            f"The band of {list_labels(ranges)} is the range of the runs, for t-intervals would "
            "reach below zero, where no value can be."
        )
    grouped = [curve.label for curve in curves if curve.runs is not None]
    if grouped:
        notes.append(
            f"Each run of {list_labels(grouped)} is drawn by itself, for they lie in two groups, "
            "which no mean describes."
        )
    return notes


def _lines(curve: Curve, scale: str) -> list[Line]:
    """A mean with its band, or every run of its own where they lie in two groups."""
    if curve.runs is not None:
        numbered = enumerate(curve.runs, start=1)
        return [Line(curve.label, curve.x, y, run=f"run {number}") for number, y in numbered]
    if curve.num_seeds == 1:
        return [Line(curve.label, curve.x, curve.mean, seeds=1)]
    interval = LOG_INTERVAL if scale == "log" else T_INTERVAL
    interval = RANGE if curve.is_range else interval
    band = {"low": curve.low, "high": curve.high, "interval": interval}
    return [Line(curve.label, curve.x, curve.mean, seeds=curve.num_seeds, **band)]


def _short(value: float) -> str:
    return format_number(float(f"{value:.3g}"))


def _cut_note(high: float) -> str:
    return f"Values beyond {format_number(float(f'{high:.2g}'))} are cut off."


def draw_parameters(
    summaries: Sequence[LabelSummary], names: Sequence[str], colors: Colors, name: str
) -> Drawing | None:
    """Each parameter against updates, one panel above the other; None if none is logged.

    They are drawn in their own units, on a log axis if what is trained is their logarithm.
    """
    shown = []
    for index, logged in enumerate(names):
        own, value, scale = own_units(logged)
        found = (parameter_curve(summary, index) for summary in summaries)
        curves = [curve for curve in found if curve is not None]
        if value is not None:
            curves = [transform_curve(curve, value) for curve in curves]
        if not curves:
            return None
        shown.append((own, scale, curves))
    return _draw_over_updates(shown, colors, name)


def draw_diagnostics(
    summaries: Sequence[LabelSummary], colors: Colors, name: str
) -> Drawing | None:
    """What limits the trainings, one panel above the other; None if none says so.

    Of a sigma that stays as it is there is nothing to draw.
    """
    shown = []
    for logged, label in DIAGNOSTICS.items():
        found = (diagnostic_curve(summary, logged) for summary in summaries)
        curves = [curve for curve in found if curve is not None]
        if curves and (logged != "sigma" or any(np.ptp(curve.mean) > 0 for curve in curves)):
            shown.append((label, "log", curves))
    return _draw_over_updates(shown, colors, name)


def _draw_over_updates(
    shown: Sequence[tuple[str, str, Sequence[Curve]]], colors: Colors, name: str
) -> Drawing | None:
    """A panel of curves for each label and scale, along the same updates; None if there is none."""
    if not shown:
        return None
    last = max(float(curve.x[-1]) for _, _, curves in shown for curve in curves)
    panels, notes = [], []
    for label, scale, curves in shown:
        low, high, cut = value_limits(curves, scale)
        notes += [f"{label}: {note[:1].lower()}{note[1:]}" for note in _band_notes(curves)]
        notes += [f"{label}: {_cut_note(high)}"] if cut else []
        lines = [line for curve in curves for line in _lines(curve, scale)]
        x = Axis(AXIS_LABELS["update"], "linear", 0.0, last)
        panels.append(Panel(x, Axis(label, scale, low, high), lines))
    named = ", ".join(label for label, _, _ in shown)
    return draw_panels(panels, colors, name, f"Line charts of {named} against updates.", notes)


def draw_chart(chart: Chart, colors: Colors, name: str) -> Drawing:
    """A chart that the experiment brought along."""
    lines = [_chart_line(series) for series in chart.series]
    x = Axis(chart.x_label, chart.x_scale, *_ends([line.x for line in lines], chart.x_scale, 0.01))
    heights = [y for line in lines for y in (line.y, line.low, line.high) if y is not None]
    y = Axis(chart.y_label, chart.y_scale, *_ends(heights, chart.y_scale, 0.05))
    notes = []
    log_axes = [line.x for line in lines] * (chart.x_scale == "log")
    log_axes += heights * (chart.y_scale == "log")
    if any(np.any(values <= 0) for values in log_axes):
        notes.append("What is zero or less has no place on a logarithmic axis, and is left out.")
    labels = ", ".join(dict.fromkeys(series.label for series in chart.series))
    description = f"Chart of {chart.y_label} against {chart.x_label}: {labels}."
    return draw_panels([Panel(x, y, lines)], colors, name, description, notes)


def _chart_line(series: Series) -> Line:
    low, high = (as_array(end) if len(end) else None for end in (series.low, series.high))
    y = as_array(series.y) if len(series.y) else None
    return Line(series.label, as_array(series.x), y, low, high, series.style)


def _ends(values: Sequence[np.ndarray], scale: str, margin: float) -> tuple[float, float]:
    """The ends of an axis for some values, with a margin, as a part of what they span."""
    every = np.concatenate([np.empty(0), *values])
    every = every[np.isfinite(every) & ((every > 0) | (scale != "log"))]
    if len(every) == 0:
        return (1.0, 10.0) if scale == "log" else (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    if scale == "log":
        factor = (high / low) ** margin if high > low else 1.5
        return low / factor, high * factor
    pad = margin * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad
