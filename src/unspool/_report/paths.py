"""The paths of the parameters over the surface of the loss."""

import math
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

from .._statistics.summarize import MAX_POINTS, LabelSummary
from ..records import Experiment, LoggedRun, RunError, Surface
from ..records.files import as_array
from .axes import LABEL_SIZE, set_scale, style_axes
from .figures import WIDTH, Colors, Drawing
from .svg import matplotlib_defaults, new_figure, page_color, series_color, to_svg

COLUMNS = 3
SHAPES = {"cross": "X", "star": "*", "diamond": "D", "plus": "P", "square": "s", "triangle": "^"}
_GRAYS = LinearSegmentedColormap.from_list("unspool", ["#ffffff", "#e3e6ea", "#b4bac3", "#858c98"])


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
    columns = min(len(shown), COLUMNS)
    rows = math.ceil(len(shown) / columns)
    width = WIDTH if columns > 1 else 6.4
    with matplotlib_defaults():
        figure = new_figure(width, 0.6 + rows * (3.1 if columns > 1 else 4.4))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        mesh = None
        for panel, summary in zip(panels, shown, strict=False):
            mesh = _draw_surface(panel, surface)
            panel.set_title(summary.label, fontsize=10.5, color=page_color("ink"), loc="left")
            for run in summary.runs:
                _draw_path(panel, run, surface, series_color(colors[summary.label]))
            _draw_markers(panel, experiment, surface)
        for index, panel in enumerate(panels := list(figure.axes)):
            if index >= len(shown):
                panel.set_visible(False)
            if index + columns >= len(shown):
                panel.set_xlabel(_name(names, surface.x_index))
                panel.tick_params(labelbottom=True)
            if index % columns == 0:
                panel.set_ylabel(_name(names, surface.y_index))
        assert mesh is not None
        bar = figure.colorbar(mesh, ax=panels, label=surface.label, aspect=28, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(
            color=page_color("faint"), labelcolor=page_color("faint"), labelsize=LABEL_SIZE
        )
        set_scale(bar.ax, "y", surface.scale, bar.ax.get_ylim())
        description = f"Paths of the parameters over the {surface.label} for " + ", ".join(
            summary.label for summary in shown
        )
        notes = (_caption(experiment, surface), *_leaving_note(shown, surface))
        return Drawing(to_svg(figure, name, description + "."), notes)


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


def _draw_surface(axes: Axes, surface: Surface) -> QuadMesh:
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
    mesh = axes.pcolormesh(
        surface.x, surface.y, loss, norm=norm, cmap=_GRAYS, shading="nearest", rasterized=True
    )
    if high > low:
        space = np.geomspace if surface.scale == "log" else np.linspace
        levels = space(low, high, 10)[1:-1]
        axes.contour(
            surface.x, surface.y, loss, levels=levels, colors="#6f7682", linewidths=0.4, alpha=0.7
        )
    set_scale(axes, "x", "linear", (float(surface.x[0]), float(surface.x[-1])), num_ticks=5)
    set_scale(axes, "y", "linear", (float(surface.y[0]), float(surface.y[-1])), num_ticks=5)
    return mesh


def _path(run: LoggedRun, surface: Surface) -> np.ndarray:
    """The two drawn parameters of a run, thinned, up to the first that is not finite."""
    if run.metrics.params is None:
        return np.empty((0, 2))
    path = run.metrics.params[:, [surface.x_index, surface.y_index]]
    broken = np.flatnonzero(~np.all(np.isfinite(path), axis=1))
    path = path[: broken[0]] if len(broken) else path
    if len(path) <= MAX_POINTS:
        return path
    return path[np.round(np.linspace(0, len(path) - 1, MAX_POINTS)).astype(int)]


def _draw_path(axes: Axes, run: LoggedRun, surface: Surface, color: str) -> None:
    path = _path(run, surface)
    if len(path) == 0:
        return
    axes.plot(*path.T, color=color, linewidth=0.8, alpha=0.8)
    axes.plot(*path[0], "o", color=page_color("ink"), markersize=4.5, zorder=4)
    axes.plot(*path[-1], "o", color=color, markersize=5, markeredgecolor="white", mew=0.8, zorder=5)


def _draw_markers(axes: Axes, experiment: Experiment, surface: Surface) -> None:
    for marker, shape in zip(experiment.markers, cycle(SHAPES), strict=False):
        axes.plot(
            marker.point[surface.x_index],
            marker.point[surface.y_index],
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
        paths = np.concatenate([_path(run, surface) for run in summary.runs])
        x, y = paths.T
        inside = (x >= surface.x[0]) & (x <= surface.x[-1])
        inside &= (y >= surface.y[0]) & (y <= surface.y[-1])
        if not np.all(inside):
            leaving.append(summary.label)
    return (f"Paths leave the region shown: {', '.join(leaving)}.",) if leaving else ()
