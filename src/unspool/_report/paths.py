"""The paths of the parameters over the surface of the loss."""

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from .._statistics.curves import thinned
from .._statistics.summarize import LabelSummary
from ..records import Experiment, LoggedRun, RunError, Surface
from ..records.files import as_array
from .axes import LABEL_SIZE, set_scale, style_axes
from .data import FigureData, Line
from .drawing import Colors, Drawing, draw_twice
from .svg import page_color, series_color
from .units import OwnUnits, own_units

COLUMNS = 3
MAX_POINTS = 200
SHAPES = {"cross": "X", "star": "*", "diamond": "D", "plus": "P", "square": "s", "triangle": "^"}
_GRAYS = LinearSegmentedColormap.from_list("unspool", ["#ffffff", "#e3e6ea", "#b4bac3", "#858c98"])


Units = tuple[OwnUnits, OwnUnits]
_LOGGED: Units = (own_units(""), own_units(""))


def draw_paths(
    summaries: tuple[LabelSummary, ...],
    experiment: Experiment,
    names: tuple[str, ...],
    colors: Colors,
    name: str,
) -> Drawing | None:
    """One panel for each label, with the path of every seed over the surface.

    None if the experiment has no surface or no run logs its parameters.
    """
    surface = experiment.surface
    shown = [s for s in summaries if any(run.metrics.params is not None for run in s.runs)]
    if surface is None or not shown:
        return None
    _check_indices(surface, experiment, shown)
    units = own_units(_name(names, surface.x_index)), own_units(_name(names, surface.y_index))

    def fill(figure: Figure, is_wide: bool) -> list[Axes]:
        columns = min(len(shown), COLUMNS if is_wide else 2)
        rows = math.ceil(len(shown) / columns)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        panels, mesh = list(grid), None
        for panel, summary in zip(panels, shown, strict=False):
            mesh = _draw_surface(panel, surface, units)
            panel.set_title(summary.label, fontsize=10.5, color=page_color("ink"), loc="left")
            for run in summary.runs:
                _draw_path(panel, _path(run, surface, units), colors[summary.label])
            _draw_markers(panel, experiment, surface, units)
        _label_axes(panels, len(shown), columns, units)
        _draw_bar(figure, panels, mesh, surface, is_wide)
        return panels[: len(shown)]

    rows = math.ceil(len(shown) / COLUMNS)
    height = 0.6 + rows * (3.1 if len(shown) > 1 else 4.4)
    description = f"Paths of the parameters over the {surface.label} for " + ", ".join(
        summary.label for summary in shown
    )
    notes = (_caption(experiment, surface), *_leaving_note(shown, surface))
    data = _data(name, shown, surface, units)
    return Drawing(*draw_twice(fill, height, name, description + "."), notes, data)


def _label_axes(panels: list[Axes], num_shown: int, columns: int, units: Units) -> None:
    """Names the axes on the left and below, and hides panels that no label takes."""
    for index, panel in enumerate(panels):
        panel.set_visible(index < num_shown)
        if index + columns >= num_shown:
            panel.set_xlabel(units[0].name)
            panel.tick_params(labelbottom=True)
        if index % columns == 0:
            panel.set_ylabel(units[1].name)


def _data(name: str, summaries: list[LabelSummary], surface: Surface, units: Units) -> FigureData:
    """The paths, a panel for each label, and the surface, a line for each height of its rows."""
    panels = []
    for summary in summaries:
        lines = [
            Line(summary.label, *_path(run, surface, units).T, run=f"seed {run.config.seed}")
            for run in summary.runs
        ]
        panels.append((units[1].name, lines))
    x, y = _in_units(surface, units)
    rows = [
        Line(f"{height:.6g}", x, loss)
        for height, loss in zip(y, as_array(surface.loss), strict=True)
    ]
    return FigureData(name, units[0].name, [*panels, ("surface", rows)])


def _in_units(surface: Surface, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """The places of the surface's numbers along both axes."""
    return _own(surface.x, units[0]), _own(surface.y, units[1])


def _own(values: Sequence[float] | np.ndarray, unit: OwnUnits) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values if unit.value is None else unit.value(values)


def _draw_bar(
    figure: Figure, panels: list[Axes], mesh: QuadMesh | None, surface: Surface, is_wide: bool
) -> None:
    """The bar that says which gray is which loss, beside the panels or below them."""
    assert mesh is not None
    place = {"aspect": 28, "pad": 0.02} if is_wide else {"location": "bottom", "aspect": 28}
    bar = figure.colorbar(mesh, ax=panels, label=surface.label, **place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(
        color=page_color("faint"), labelcolor=page_color("faint"), labelsize=LABEL_SIZE
    )
    which = "y" if is_wide else "x"
    ends = bar.ax.get_ylim() if is_wide else bar.ax.get_xlim()
    set_scale(bar.ax, which, surface.scale, ends, num_ticks=7 if is_wide else 4)


def _name(names: tuple[str, ...], index: int) -> str:
    return names[index] if index < len(names) else f"parameter {index}"


def _check_indices(surface: Surface, experiment: Experiment, summaries: list[LabelSummary]) -> None:
    needed = max(surface.x_index, surface.y_index) + 1
    smallest = min(run.config.num_params for summary in summaries for run in summary.runs)
    if smallest < needed or min(surface.x_index, surface.y_index) < 0:
        raise RunError(
            f"The surface of {experiment.name!r} has 'x_index' {surface.x_index} and 'y_index' "
            f"{surface.y_index}, but must name parameters from 0 to {smallest - 1}."
        )
    for marker in experiment.markers:
        if len(marker.point) < needed:
            raise RunError(
                f"The marker {marker.label!r} of {experiment.name!r} has {len(marker.point)} "
                f"coordinates, but must have at least {needed}, one for each parameter."
            )


def _draw_surface(axes: Axes, surface: Surface, units: Units) -> QuadMesh:
    """The loss as an image, brighter where it is lower, with a few lines of equal loss."""
    style_axes(axes)
    axes.grid(visible=False)
    loss = np.ma.masked_invalid(as_array(surface.loss))
    if surface.scale == "log":
        loss = np.ma.masked_less_equal(loss, 0.0)
    if loss.count() == 0:
        raise RunError("The surface has no 'loss' that can be drawn; it must have finite ones.")
    low, high = float(loss.min()), float(loss.max())
    norm = LogNorm(low, high) if surface.scale == "log" else Normalize(low, high)
    x, y = _in_units(surface, units)
    edges = [_own(_edges(at), unit) for at, unit in zip((surface.x, surface.y), units, strict=True)]
    mesh = axes.pcolormesh(*edges, loss, norm=norm, cmap=_GRAYS, shading="flat", rasterized=True)
    if high > low:
        space = np.geomspace if surface.scale == "log" else np.linspace
        levels = space(low, high, 10)[1:-1]
        axes.contour(x, y, loss, levels=levels, colors="#6f7682", linewidths=0.4, alpha=0.7)
    set_scale(axes, "x", units[0].scale, (float(x[0]), float(x[-1])), num_ticks=4)
    set_scale(axes, "y", units[1].scale, (float(y[0]), float(y[-1])), num_ticks=5)
    return mesh


def _edges(places: Sequence[float]) -> np.ndarray:
    """The borders between places and around them, each half way to the next."""
    at = np.asarray(places, dtype=float)
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def _path(run: LoggedRun, surface: Surface, units: Units) -> np.ndarray:
    """The two drawn parameters of a run, thinned, up to the first that is not finite."""
    if run.metrics.params is None:
        return np.empty((0, 2))
    path = run.metrics.params[:, [surface.x_index, surface.y_index]]
    broken = np.flatnonzero(~np.all(np.isfinite(path), axis=1))
    path = path[: broken[0]] if len(broken) else path
    path = path[thinned(len(path), MAX_POINTS)]
    return np.stack([_own(column, unit) for column, unit in zip(path.T, units, strict=True)], 1)


def _draw_path(axes: Axes, path: np.ndarray, number: int) -> None:
    color = series_color(number)
    if len(path) == 0:
        return
    axes.plot(*path.T, color=color, linewidth=0.8, alpha=0.8)
    axes.plot(*path[0], "o", color=page_color("ink"), markersize=4.5, zorder=4)
    axes.plot(*path[-1], "o", color=color, markersize=5, markeredgecolor="white", mew=0.8, zorder=5)


def _draw_markers(axes: Axes, experiment: Experiment, surface: Surface, units: Units) -> None:
    for marker, shape in zip(experiment.markers, cycle(SHAPES), strict=False):
        axes.plot(
            _own([marker.point[surface.x_index]], units[0]),
            _own([marker.point[surface.y_index]], units[1]),
            SHAPES[shape],
            color="white",
            markeredgecolor=page_color("ink"),
            markersize=8,
            markeredgewidth=0.9,
            zorder=6,
        )


def _caption(experiment: Experiment, surface: Surface) -> str:
    caption = (
        "One line for each seed; the dark dot is the start, the colored dots are the ends. "
        f"Brighter means lower {surface.label}."
    )
    marked = zip(experiment.markers, cycle(SHAPES), strict=False)
    return caption + "".join(f" White {shape}: {marker.label}." for marker, shape in marked)


def _leaving_note(summaries: list[LabelSummary], surface: Surface) -> tuple[str, ...]:
    """Names the labels whose paths leave the region of the surface."""
    leaving = []
    for summary in summaries:
        paths = np.concatenate([_path(run, surface, _LOGGED) for run in summary.runs])
        x, y = paths.T
        inside = (x >= surface.x[0]) & (x <= surface.x[-1])
        inside &= (y >= surface.y[0]) & (y <= surface.y[-1])
        if not np.all(inside):
            leaving.append(summary.label)
    return (f"Paths leave the region shown: {', '.join(leaving)}.",) if leaving else ()
