"""The line figures of the page: the metric against its costs, parameters, further charts."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from .._statistics.intervals import format_number
from .._statistics.summarize import Curve, LabelSummary, Metric, metric_curve, parameter_curve
from ..records import Chart
from ..records.files import as_array
from .axes import count_unit, set_scale, style_axes
from .labels import LineEnd, label_ends
from .svg import line_style, matplotlib_defaults, new_figure, page_color, series_color, to_svg

WIDTH = 9.6
WIDE_RATIO = 20.0
"""The longest curve may be this many times as long as the shortest on a linear axis."""

LOG_SPAN = 30.0
"""A logarithmic axis begins at the end of the shortest curve divided by this."""

DRAWABLE = 1e200
"""The largest value on a log axis; ticks beyond it would overflow."""

AXIS_LABELS = {
    "update": "updates",
    "steps": "problem steps, warm-up included",
    "sequential_steps": "sequential steps, warm-up included",
    "seconds": "training time in seconds, compilation excluded",
}


@dataclass(frozen=True)
class Drawing:
    """A figure as an `<svg>` element, and what its caption must say of this drawing."""

    svg: str
    notes: tuple[str, ...] = ()


class ValueLimits(NamedTuple):
    """The ends of a value axis, and whether they cut off a curve."""

    low: float
    high: float
    cut: bool


Colors = dict[str, int]
"""The number of the color of each label, the same in every figure and table."""


def draw_metric(
    summaries: tuple[LabelSummary, ...],
    metric: Metric,
    axis: str,
    colors: Colors,
    name: str,
) -> Drawing | None:
    """The metric of all labels against one axis, mean and 95 % band; None if there is no curve."""
    curves = [
        curve for summary in summaries if (curve := metric_curve(summary, metric, axis)) is not None
    ]
    if not curves:
        return None
    with matplotlib_defaults():
        figure = new_figure(WIDTH, 3.9)
        axes = figure.add_subplot()
        style_axes(axes)
        for time in summaries[0].times_to_target:
            axes.axhline(time.threshold, color=page_color("faint"), lw=0.8, linestyle=(0, (1, 3)))
        notes = _draw_curves(axes, curves, metric, axis, colors)
        description = f"Line chart of {metric.name} against {AXIS_LABELS[axis]}. " + "; ".join(
            f"{c.label} goes from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for c in curves
        )
        return Drawing(to_svg(figure, name, description + "."), notes)


def _draw_curves(
    axes: Axes, curves: list[Curve], metric: Metric, axis: str, colors: Colors
) -> tuple[str, ...]:
    """Draws the curves into empty axes; returns what the caption must say."""
    notes = []
    ends = [float(curve.x[-1]) for curve in curves]
    unit, unit_name = count_unit(max(ends)) if axis.endswith("steps") else (1.0, "")
    left = min(ends) / LOG_SPAN if max(ends) > WIDE_RATIO * min(ends) else 0.0
    set_scale(axes, "x", "log" if left > 0 else "linear", (left / unit, max(ends) / unit))
    if left > 0:
        notes.append("The horizontal axis is logarithmic, since the runs differ much in length.")
    low, high, cut = value_limits(curves, metric.scale, higher_is_better=metric.higher_is_better)
    set_scale(axes, "y", metric.scale, (low, high))
    if cut:
        notes.append(_cut_note(low if metric.higher_is_better else high))
    for curve in curves:
        color = series_color(colors[curve.label])
        x = curve.x / unit
        if curve.num_seeds > 1:
            band = np.clip(curve.low, low, high), np.clip(curve.high, low, high)
            axes.fill_between(x, *band, color=color, alpha=0.18, linewidth=0)
        axes.plot(x, curve.mean, **line_style(colors[curve.label]))
    axes.set_xlabel(AXIS_LABELS[axis] + unit_name)
    axes.set_ylabel(metric.name)
    label_ends(axes, _line_ends(curves, colors, unit, (low, high)))
    return tuple(notes)


def _line_ends(
    curves: list[Curve], colors: Colors, unit: float, limits: tuple[float, float]
) -> list[LineEnd]:
    """The end of each line, or the point where it leaves the figure for good."""
    ends = []
    for curve in curves:
        inside = np.flatnonzero((curve.mean >= limits[0]) & (curve.mean <= limits[1]))
        last = min(inside[-1] + 1, len(curve.x) - 1) if len(inside) else -1
        x, y = float(curve.x[last]) / unit, float(np.clip(curve.mean[last], *limits))
        ends.append(LineEnd(curve.label, series_color(colors[curve.label]), x, y))
    return ends


def _cut_note(high: float) -> str:
    return f"Values beyond {format_number(float(f'{high:.2g}'))} are cut off."


def value_limits(curves: list[Curve], scale: str, *, higher_is_better: bool = False) -> ValueLimits:
    """The ends of the value axis for some curves.

    Bands may leave the figure; means do so only on a linear axis, above ten times the range
    between the highest start and the lowest value; below that where values rise.
    """
    if higher_is_better and scale == "linear":
        mirrored = [Curve(c.label, c.x, -c.mean, -c.high, -c.low, c.num_seeds) for c in curves]
        low, high, cut = value_limits(mirrored, scale)
        return ValueLimits(low=-high, high=-low, cut=cut)
    means = np.concatenate([curve.mean for curve in curves])
    low, high = float(np.min(means)), float(np.max(means))
    bands_low = min(float(np.min(curve.low)) for curve in curves)
    bands_high = max(float(np.max(curve.high)) for curve in curves)
    if scale == "log":
        span = max(high / low, 1.2)
        bottom, top = max(bands_low, low / span**0.15), min(bands_high, high * span**0.15)
        margin = (top / bottom) ** 0.04
        farthest = 1.0 / DRAWABLE, DRAWABLE
        bottom, top = np.clip([bottom / margin, top * margin], *farthest).tolist()
        return ValueLimits(low=bottom, high=top, cut=high > DRAWABLE)
    start = max(float(curve.mean[0]) for curve in curves)
    cut = start > low and high > start + 9 * (start - low)
    high = start + 2 * (start - low) if cut else high
    span = (high - low) or abs(high) or 1.0
    bottom, top = max(bands_low, low - 0.3 * span), high
    if not cut:
        top = min(bands_high, high + 0.3 * span)
    return ValueLimits(low=bottom - 0.04 * span, high=top + 0.04 * span, cut=cut)


def draw_parameters(
    summaries: tuple[LabelSummary, ...], names: tuple[str, ...], colors: Colors, name: str
) -> Drawing | None:
    """Each parameter against updates, one panel above the other; None if none is logged."""
    panels = [
        [curve for summary in summaries if (curve := parameter_curve(summary, index)) is not None]
        for index in range(len(names))
    ]
    if not panels or not all(panels):
        return None
    with matplotlib_defaults():
        figure = new_figure(WIDTH, 0.5 + 2.4 * len(panels))
        notes: list[str] = []
        last = max(float(curve.x[-1]) for curves in panels for curve in curves)
        all_axes = [figure.add_subplot(len(panels), 1, row + 1) for row in range(len(panels))]
        for row, (axes, curves) in enumerate(zip(all_axes, panels, strict=True)):
            style_axes(axes)
            low, high, cut = value_limits(curves, "linear")
            if cut:
                notes.append(f"{names[row]}: {_cut_note(high)}")
            set_scale(axes, "x", "linear", (0.0, last))
            set_scale(axes, "y", "linear", (low, high), num_ticks=5)
            axes.set_ylabel(names[row])
            for curve in curves:
                color = series_color(colors[curve.label])
                band = np.clip(curve.low, low, high), np.clip(curve.high, low, high)
                axes.fill_between(curve.x, *band, color=color, alpha=0.18, linewidth=0)
                axes.plot(curve.x, curve.mean, **line_style(colors[curve.label]))
            label_ends(axes, _line_ends(curves, colors, 1.0, (low, high)))
        all_axes[-1].set_xlabel(AXIS_LABELS["update"])
        description = f"Line charts of {', '.join(names)} against updates."
        return Drawing(to_svg(figure, name, description), tuple(notes))


def draw_chart(chart: Chart, colors: Colors, name: str) -> Drawing:
    """A chart that the experiment brought along."""
    with matplotlib_defaults():
        figure = new_figure(WIDTH, 3.9)
        axes = figure.add_subplot()
        style_axes(axes)
        axes.set(xscale=chart.x_scale, yscale=chart.y_scale)
        ends = []
        for series in chart.series:
            color = series_color(colors[series.label])
            x, y = as_array(series.x), as_array(series.y)
            if series.style == "band":
                band = as_array(series.low), as_array(series.high)
                axes.fill_between(x, *band, color=color, alpha=0.2, linewidth=0)
            if series.style == "points":
                axes.plot(x, y, "o", color=color, markersize=4)
            elif len(y):
                axes.plot(x, y, **line_style(colors[series.label]))
                finite = np.flatnonzero(np.isfinite(y))
                if len(finite):
                    end = float(x[finite[-1]]), float(y[finite[-1]])
                    ends.append(LineEnd(series.label, color, *end))
        axes.margins(x=0.01)
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        set_scale(axes, "x", chart.x_scale, axes.get_xlim())
        set_scale(axes, "y", chart.y_scale, axes.get_ylim())
        label_ends(axes, ends)
        labels = ", ".join(dict.fromkeys(series.label for series in chart.series))
        description = f"Chart of {chart.y_label} against {chart.x_label}: {labels}."
        return Drawing(to_svg(figure, name, description))
