"""Axes and lines as those of reports, with colors for a light background."""

from typing import Any

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.ticker import EngFormatter
except ModuleNotFoundError as error:
    raise ImportError(
        f"figures need {error.name}, which is not there: pip install 'unspool[notebook]'"
    ) from None

from .._report.style import PALETTE
from .._report.svg import line_style

INK, FAINT = "#1d2127", "#5b626d"


def new_axes(ax: Axes | None) -> Axes:
    """The axes that were given, or those of a new figure."""
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def count_series(ax: Axes) -> int:
    """The number of colors of lines in axes; further ones get those after them."""
    return len({line.get_color() for line in ax.get_lines() if line.get_linestyle() != "None"})


def count_steps(ax: Axes) -> None:
    """Writes large counts on the axis of costs as `500 k` and `2 M`."""
    ax.xaxis.set_major_formatter(EngFormatter())


def series_style(index: int, width: float = 1.5) -> dict[str, Any]:
    """Matplotlib options of the line of that number: its color, and what else tells it apart."""
    return {
        "color": PALETTE[index % len(PALETTE)][0],
        "linestyle": line_style(index)["linestyle"],
        "linewidth": width,
    }
