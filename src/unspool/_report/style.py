"""Colors and type of the page: one place for both, light, dark and on paper."""

PALETTE = (
    ("#005a9c", "#4a9fe8"),
    ("#dd6416", "#e0701f"),
    ("#056f50", "#48c598"),
    ("#c06c9b", "#d98cb9"),
    ("#2f8fc2", "#a3d5fe"),
    ("#1b1b1b", "#f8f8f8"),
    ("#8a5f00", "#e9a20b"),
    ("#5f5700", "#fff88e"),
)
"""Light and dark color of each series: the hues of Okabe and Ito, each as light or dark as the
background asks for, to which all have a contrast of 3:1 and more."""

DASHES = ((), (6.0, 2.0), (2.0, 1.5), (7.0, 2.0, 1.5, 2.0))
"""Lengths of strokes and gaps, in widths of the line; lines are told apart without colors too."""

MARKERS = "os^DvPXp"
"""Matplotlib's markers, one for each color."""

_SHAPES = {
    "o": "M15 1.5a3.5 3.5 0 1 0 .01 0z",
    "s": "M12 2h6v6h-6z",
    "^": "M15 1l4 7.5h-8z",
    "D": "M15 .8L19.2 5 15 9.2 10.8 5z",
    "v": "M15 9l4-7.5h-8z",
    "P": "M14 1h2v3h3v2h-3v3h-2v-3h-3v-2h3z",
    "X": "M12 1l3 2.5L18 1l1.5 1.5L17 5l2.5 2.5L18 9l-3-2.5L12 9l-1.5-1.5L13 5l-2.5-2.5z",
    "p": "M15 1l4 3-1.5 4.7h-5L11 4z",
}
"""The markers as paths around the middle of a swatch."""

INK = ("#1d2127", "#e4e6ea")
FAINT = ("#5b626d", "#a2a9b4")
RULE = ("#dfe2e7", "#33383f")
PAPER = ("#ffffff", "#15181c")
WARNING = ("#fff6e0", "#35290f")
WARNING_EDGE = ("#c98a00", "#b98a2a")
GOOD = ("#1f7a3d", "#63c987")
LINK = ("#005a9c", "#7db8f0")
BAD = ("#b3261e", "#ff8f85")

NAMED = {
    "ink": INK,
    "faint": FAINT,
    "rule": RULE,
    "paper": PAPER,
    "warning": WARNING,
    "warning-edge": WARNING_EDGE,
    "good": GOOD,
    "bad": BAD,
    "link": LINK,
    **{f"series-{index}": colors for index, colors in enumerate(PALETTE)},
}


def series_variable(index: int) -> str:
    """The CSS color of the series of that number; after eight the colors repeat."""
    return f"var(--series-{index % len(PALETTE)})"


def dashes(index: int) -> tuple[float, ...]:
    """The dashes of the series of that number; where colors repeat they are others."""
    return DASHES[(index + index // len(PALETTE)) % len(DASHES)]


def marker(index: int) -> str:
    """The marker of the series of that number."""
    return MARKERS[index % len(MARKERS)]


def swatch(index: int) -> str:
    """A piece of the line of the series of that number, for legends, 30 by 10 pixels of SVG."""
    color = series_variable(index)
    strokes = " ".join(f"{1.5 * length:g}" for length in dashes(index)) or "none"
    shape = _SHAPES[marker(index)]
    return (
        f'<path d="M0 5H30" stroke="{color}" stroke-width="1.8" stroke-dasharray="{strokes}"/>'
        f'<path d="{shape}" fill="{color}"/>'
    )
