"""Ways of the parameters, over the loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._problem import AbstractProblem
from ..experiments.losses import draw_shifts, surface
from ..records import Surface
from .traces import Trace, as_traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any

_POINTS, _DRAWS = 41, 32
_MARGIN = 0.2
"""The part of the paths' extent that is shown around them."""


def paths(
    runs: Any,
    *,
    over: AbstractProblem | Surface | None = None,
    sigma: float = 0.0,
    num_episodes: int = 1,
    which: tuple[int, int] = (0, 1),
    ax: Axes | None = None,
) -> Axes:
    """Draws the ways that two parameters take in training, over the loss if it is asked for.

    A dark dot is the first record, a colored one the last.

    **Arguments:**

    - `runs`: as for `curves`; every training has a path of its own.
    - `over`: what to show in gray, brighter where it is lower: a problem with two parameters, whose
      loss is then evaluated on a grid of 41 by 41 points; or a `Surface` of `unspool.records`.
    - `sigma`: the standard deviation of noise that the problem's loss is averaged over, as
      estimators that perturb see it; 0 for none.
    - `num_episodes`: episodes of the problem at every point, the same ones; one is enough where
      they do not differ.
    - `which`: the numbers of the two parameters, in the order in which a tree has its leaves.
    - `ax`: the axes of matplotlib to draw into; by default those of a new figure.

    **Returns:** the axes.

    **Raises:** `ValueError` for trainings without these parameters; else as `curves`.

    **Example**, after that of `curves`:

    >>> ax = unspool.plot.paths(trained, over=problem)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('level', 'slope')
    """
    from .style import FAINT, INK, count_series, new_axes, series_style

    traces = as_traces(runs)
    found = [
        (label, _path(trace, which)) for label, group in traces.items() for trace in group
    ]  # One for each seed.
    names = next(iter(traces.values()))[0].names
    ax = new_axes(ax)
    first = count_series(ax)
    if isinstance(over, AbstractProblem):
        points = np.concatenate([path for _, path in found])
        over = _surface(over, points, sigma, num_episodes)
    if over is not None:
        _draw_surface(ax, over, FAINT)
    numbers = {label: number for number, label in enumerate(traces, first)}
    named = set()
    for label, path in found:
        style = series_style(numbers[label], width=1.0)
        ax.plot(*path.T, label=None if label in named else label, **style)
        named.add(label)
        ax.plot(*path[0], "o", color=INK, markersize=4, zorder=4)
        ax.plot(*path[-1], "o", color=style["color"], markersize=6, mec="white", zorder=5)
    ax.set(xlabel=_name(names, which[0]), ylabel=_name(names, which[1]))
    if any(traces):
        ax.legend()
    return ax


def _path(trace: Trace, which: tuple[int, int]) -> np.ndarray:
    """The two parameters in each record, up to the first that is not finite."""
    count = 0 if trace.params is None else trace.params.shape[1]
    if trace.params is None or not all(0 <= index < count for index in which):
        raise ValueError(
            f"which must be two numbers of parameters below {count}, which is how many the records "
            f"of a training hold, got {which!r}"
        )
    path = trace.params[:, list(which)]
    broken = np.flatnonzero(~np.all(np.isfinite(path), axis=1))
    return path[: max(1, broken[0])] if len(broken) else path


def _surface(
    problem: AbstractProblem, points: np.ndarray, sigma: float, num_episodes: int
) -> Surface:
    """The loss around the paths."""
    points = points[np.all(np.isfinite(points), axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    x, y = np.linspace(low - margin, high + margin, _POINTS).T
    shifts = draw_shifts(sigma, _DRAWS) if sigma > 0 else np.zeros((1, 2))
    label = "smoothed loss" if sigma > 0 else "loss"
    return surface(problem, x, y, shifts, label, num_episodes)


def _draw_surface(ax: Axes, over: Surface, color: str) -> None:
    """The loss in grays, logarithmic where it is positive, and lines of equal loss."""
    from matplotlib.colors import LogNorm

    loss = np.ma.masked_invalid(np.asarray(over.loss, float))
    low, high = float(loss.min()), float(loss.max())
    is_log = 0 < low < high
    levels = (np.geomspace if is_log else np.linspace)(
        low, max(high, np.nextafter(low, np.inf)), 24
    )
    norm = LogNorm(low, high) if is_log else None
    mesh = ax.contourf(over.x, over.y, loss, levels=levels, norm=norm, cmap="Grays", alpha=0.6)
    ax.contour(over.x, over.y, loss, levels=levels[::3], colors=color, linewidths=0.4)
    ax.figure.colorbar(mesh, ax=ax, label=over.label, format="%.3g")


def _name(names: Sequence[str] | None, index: int) -> str:
    known = names is not None and index < len(names)
    return (names[index] if names and known else "") or f"parameter {index}"
