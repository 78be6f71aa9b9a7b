"""Panels of lines as drawings: one for wide windows and one for narrow ones, with their numbers."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .axes import set_scale, style_axes
from .data import FigureData, Line
from .labels import LineEnd, label_ends
from .svg import (
    line_style,
    matplotlib_defaults,
    new_figure,
    page_color,
    series_color,
    series_id,
    to_svg,
)

WIDE, NARROW = 9.6, 3.75
"""Widths in inches, of which one has 100 pixels of the page."""

NARROW_POINTS, NARROW_LETTERS = 130, 36

Colors = dict[str, int]
"""The number of the series of each label, the same in every figure and table."""


@dataclass(frozen=True)
class Drawing:
    """A figure as `<svg>` elements for wide and narrow windows, with what its caption must say.

    `data` has the numbers that are drawn.
    """

    wide: str
    narrow: str
    notes: tuple[str, ...] = ()
    data: FigureData | None = None


@dataclass(frozen=True)
class Axis:
    """An axis: its label, its scale, its ends, and the unit that its ticks count in."""

    label: str
    scale: str
    low: float
    high: float
    unit: float = 1.0
    unit_name: str = ""


@dataclass(frozen=True)
class Panel:
    """Lines on common axes; `rules` are heights that are marked across."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    rules: Sequence[float] = ()


def draw_panels(
    panels: Sequence[Panel],
    colors: Colors,
    name: str,
    description: str,
    notes: Sequence[str] = (),
) -> Drawing:
    """The panels above one another. `name` tells the figure from others on the page."""
    data = FigureData(name, panels[0].x.label, [(panel.y.label, panel.lines) for panel in panels])

    def fill(figure: Figure, is_wide: bool) -> list[Axes]:
        all_axes = [figure.add_subplot(len(panels), 1, row + 1) for row in range(len(panels))]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel, colors, is_wide)
        label = panels[-1].x.label + panels[-1].x.unit_name
        all_axes[-1].set_xlabel(label if is_wide else textwrap.fill(label, NARROW_LETTERS))
        return all_axes

    height = 3.9 if len(panels) == 1 else 0.5 + 2.4 * len(panels)
    return Drawing(*draw_twice(fill, height, name, description), tuple(notes), data)


def draw_twice(
    fill: Callable[[Figure, bool], list[Axes]], height: float, name: str, description: str
) -> tuple[str, str]:
    """The `<svg>` elements of a figure that `fill` draws wide and narrow.

    `fill` gets an empty figure and whether it is the wide one, and returns the axes whose values
    a pointer reads.
    """
    found = []
    with matplotlib_defaults():
        for width, kind in ((WIDE, "wide"), (NARROW, "narrow")):
            figure = new_figure(width, height if kind == "wide" else 0.8 * height)
            framed = fill(figure, kind == "wide")
            found.append(to_svg(figure, f"{name}-{kind}", description, framed))
    return found[0], found[1]


def _draw_panel(axes: Axes, panel: Panel, colors: Colors, is_wide: bool) -> None:
    style_axes(axes)
    x, y = panel.x, panel.y
    few = 7 if is_wide else 4
    set_scale(axes, "x", x.scale, (x.low, x.high), few, x.unit)
    set_scale(axes, "y", y.scale, (y.low, y.high), num_ticks=few if len(panel.lines) else 5)
    axes.set_ylabel(y.label if is_wide else textwrap.fill(y.label, NARROW_LETTERS))
    for height in panel.rules:
        axes.axhline(height, color=page_color("faint"), lw=0.8, linestyle=(0, (1, 3)))
    for line in panel.lines:
        shown = line if is_wide else line.thinned(NARROW_POINTS)
        _draw_line(axes, shown, colors[line.label], panel)
    if is_wide:
        label_ends(axes, _ends(panel, colors))


def _draw_line(axes: Axes, line: Line, number: int, panel: Panel) -> None:
    """A line, from the first point that has a place on the axes: on a log axis 0 has none."""
    shown = line.x > 0 if panel.x.scale == "log" else np.full(len(line.x), True)
    x = line.x[shown]
    if line.low is not None and line.high is not None:
        ends = panel.y.low, panel.y.high
        band = np.clip(line.low, *ends)[shown], np.clip(line.high, *ends)[shown]
        area = axes.fill_between(x, *band, color=series_color(number), alpha=0.18, linewidth=0)
        area.set_gid(series_id(number))
    if line.y is None:
        return
    y = np.where(line.y > 0, line.y, np.nan) if panel.y.scale == "log" else line.y
    if line.style == "points":
        style = line_style(number) | {"linestyle": "none", "markevery": None}
    else:
        style = line_style(number, int(np.sum(shown)))
        style |= {"linewidth": 0.9, "alpha": 0.85, "marker": "none"} if line.run else {}
    axes.plot(x, y[shown], **style)


def _ends(panel: Panel, colors: Colors) -> list[LineEnd]:
    """The end of each label's line, or the point where it leaves the figure for good."""
    ends: dict[str, LineEnd] = {}
    for line in panel.lines:
        if line.y is None or line.style != "line":
            continue
        finite = np.flatnonzero(np.isfinite(line.y))
        inside = finite[(line.y[finite] >= panel.y.low) & (line.y[finite] <= panel.y.high)]
        if len(finite) == 0:
            continue
        last = min(inside[-1] + 1, finite[-1]) if len(inside) else finite[-1]
        last = last if np.isfinite(line.y[last]) else inside[-1]
        y = float(np.clip(line.y[last], panel.y.low, panel.y.high))
        end = LineEnd(line.label, colors[line.label], float(line.x[last]), y)
        ends.setdefault(line.label, end)
    return list(ends.values())
