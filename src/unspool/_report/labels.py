"""Labels at the ends of lines, so that no reader has to match colors with a legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from .axes import LABEL_SIZE
from .svg import page_color, series_color, series_id

EDGE = 0.94
"""Lines that end beyond this part of the axes get their label in the margin."""

LINE_HEIGHT = 12.5
LETTER_WIDTH = 5.7
LONGEST = 30
"""Letters of a label that are written beside a line; the legend has all of them."""


@dataclass(frozen=True)
class LineEnd:
    """The last point of a line, with its label and the number of its series."""

    label: str
    series: int
    x: float
    y: float

    @property
    def text(self) -> str:
        """The label, cut if it is long."""
        return self.label if len(self.label) <= LONGEST else self.label[: LONGEST - 1] + "…"

    @property
    def color(self) -> str:
        return series_color(self.series)


def list_labels(labels: Sequence[str]) -> str:
    """Labels in a sentence, by semicolons where some have commas of their own."""
    return ("; " if any("," in label for label in labels) else ", ").join(labels)


def label_ends(axes: Axes, ends: list[LineEnd]) -> None:
    """Labels every line where it ends: in the right margin, or beside an end within the axes.

    The limits of the axes must be final and all lines drawn.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [np.clip(to_axes.transform((end.x, end.y)), 0.0, 1.0) for end in ends]
    box = axes.get_window_extent()
    size = np.array([box.width, box.height]) * 72.0 / axes.figure.dpi
    margin = [index for index, point in enumerate(points) if point[0] >= EDGE]
    lines = [
        line.get_xydata() for line in axes.get_lines() if len(np.atleast_1d(line.get_xdata())) > 2
    ]
    drawn = [to_axes.transform(np.asarray(line)) * size for line in lines]
    obstacles = np.concatenate([*drawn, np.empty((0, 2))])
    heights = spread([float(points[index][1]) for index in margin], LINE_HEIGHT / size[1])
    for index, height in zip(margin, heights, strict=True):
        _write_in_margin(axes, ends[index], points[index], height)
    placed: list[np.ndarray] = []
    for index, end in enumerate(ends):
        if index not in margin:
            position = _free_position(points[index] * size, end.text, obstacles, placed, size)
            placed.append(position)
            middle = [0.0, LINE_HEIGHT / 2]
            _write_inside(axes, end, points[index], (position[:2] + middle) / size)


def spread(heights: list[float], gap: float) -> list[float]:
    """Heights between 0 and 1 moved apart to at least `gap`, as little as that takes."""
    order = np.argsort(heights, kind="stable")
    placed = np.clip(np.array(heights, dtype=float)[order], 0.0, 1.0)
    for _ in range(200):
        if not np.any(np.diff(placed) < gap - 1e-6):
            break
        for index in range(len(placed) - 1):
            lack = max(0.0, gap - (placed[index + 1] - placed[index]))
            placed[index] -= lack / 2
            placed[index + 1] += lack / 2
        placed += max(0.0, -placed[0]) - max(0.0, placed[-1] - 1.0)
    result = np.empty_like(placed)
    result[order] = placed
    return result.tolist()


def _write_in_margin(axes: Axes, end: LineEnd, point: np.ndarray, height: float) -> None:
    axes.plot(
        [point[0], 1.012, 1.026],
        [point[1], height, height],
        transform=axes.transAxes,
        color=end.color,
        linewidth=0.8,
        clip_on=False,
        gid=series_id(end.series),
    )
    axes.text(
        1.032,
        height,
        end.text,
        gid=series_id(end.series),
        transform=axes.transAxes,
        color=page_color("ink"),
        fontsize=LABEL_SIZE,
        verticalalignment="center",
    )


def _free_position(
    point: np.ndarray,
    label: str,
    obstacles: np.ndarray,
    placed: list[np.ndarray],
    size: np.ndarray,
) -> np.ndarray:
    """The box (left, bottom, right, top) near the end that hides least, in typographic points."""
    width = LETTER_WIDTH * len(label)
    best, lowest = np.zeros(4), np.inf
    for right in (6.0, -width / 2, -width - 6.0):
        for up in (0.0, 11.0, -11.0, 20.0, -20.0, 32.0, -32.0, 44.0, -44.0, 57.0, -57.0):
            left, bottom = point[0] + right, point[1] + up - LINE_HEIGHT / 2
            box = np.array([left, bottom, left + width, bottom + LINE_HEIGHT])
            hidden = np.all((obstacles >= box[:2]) & (obstacles <= box[2:]), axis=1).sum()
            overlaps = sum(
                np.all((box[:2] < other[2:]) & (other[:2] < box[2:])) for other in placed
            )
            outside = np.any(box[:2] < 0) or np.any(box[2:] > size)
            cost = 2.0 * hidden + 200.0 * overlaps + 1e4 * outside + abs(up) + abs(right - 6.0)
            if cost < lowest:
                best, lowest = box, cost
    return best


def _write_inside(axes: Axes, end: LineEnd, point: np.ndarray, position: np.ndarray) -> None:
    """The label at its position, with a dot at the end of the line and a stroke between the two."""
    of_series = {"transform": axes.transAxes, "gid": series_id(end.series)}
    axes.plot(*point, "o", color=end.color, markersize=3.5, zorder=4, **of_series)
    if position[0] > point[0]:
        axes.plot(
            [point[0], position[0]],
            [point[1], position[1]],
            color=end.color,
            linewidth=0.8,
            **of_series,
        )
    axes.text(
        float(position[0]),
        float(position[1]),
        end.text,
        color=page_color("ink"),
        fontsize=LABEL_SIZE,
        verticalalignment="center",
        bbox={"facecolor": page_color("paper"), "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
        zorder=5,
        **of_series,
    )
