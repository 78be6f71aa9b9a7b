"""The style of every figure's axes: thin lines, units and ticks as text."""

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from .._statistics.intervals import MINUS, format_number, superscript
from .svg import page_color

LABEL_SIZE = 9.5

_IN_A_DECADE = (
    (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 2.0, 3.0, 5.0),
    (1.0, 2.0, 5.0),
    (1.0, 3.0),
    (1.0,),
)


def style_axes(axes: Axes) -> None:
    """Removes the frame, and sets thin lines and muted colors."""
    axes.patch.set_alpha(0.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(page_color("faint"))
        axes.spines[side].set_linewidth(0.7)
    axes.grid(axis="y", color=page_color("rule"), linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(
        which="both", color=page_color("faint"), labelcolor=page_color("faint"), width=0.7
    )
    axes.tick_params(labelsize=LABEL_SIZE)
    axes.xaxis.label.set_color(page_color("ink"))
    axes.yaxis.label.set_color(page_color("ink"))


def format_tick(value: float) -> str:
    """A tick as plain text; powers of ten without a factor."""
    if value == 0:
        return "0"
    exponent = math.log10(abs(value))
    power = abs(exponent - round(exponent)) < 1e-9
    if power and not -3 <= exponent <= 5:
        return (MINUS if value < 0 else "") + "10" + superscript(round(exponent))
    return format_number(float(f"{value:.10g}"))


def set_scale(
    axes: Axes,
    which: str,
    scale: str,
    ends: tuple[float, float],
    num_ticks: int = 7,
    unit: float = 1.0,
) -> None:
    """A linear or log scale between the ends, with ticks as text, on the `x` or `y` axis.

    Ticks count in units, which are powers of ten.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": scale, f"{which}lim": ends})
    if scale == "log":
        axis.set_major_locator(FixedLocator(log_ticks(*ends, num_ticks)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=num_ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value / unit)))


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers for a logarithmic axis, as many as fit, from coarse to fine."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks: list[float] = []
    for steps in _IN_A_DECADE:
        # From the text, for a power and its multiples are then the very numbers.
        ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) < 2:
            break
        if len(ticks) <= most:
            return ticks
    if len(ticks) < 2:
        even = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    return ticks[:: -(-len(ticks) // most)]


def count_unit(largest: float) -> tuple[float, str]:
    """The unit for counts up to the largest, and its name on an axis."""
    for unit, name in ((1e9, "billions (10⁹)"), (1e6, "millions"), (1e3, "thousands")):
        if largest >= 2 * unit:
            return unit, f", in {name}"
    return 1.0, ""
