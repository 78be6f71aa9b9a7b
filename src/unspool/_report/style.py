"""Colors and type of the page: one place for both, light, dark and on paper."""

PALETTE = (
    ("#005a9c", "#3b8fe0"),
    ("#d55e00", "#f07a35"),
    ("#00916a", "#2db88a"),
    ("#b84c94", "#e58fc4"),
    ("#4aa3df", "#a5ddfa"),
    ("#30343b", "#f2f2f2"),
    ("#a67b00", "#ebc34a"),
    ("#808080", "#999999"),
)
"""Light and dark color of each series: the hues of Okabe and Ito, apart in lightness too."""

INK = ("#1d2127", "#e4e6ea")
FAINT = ("#5b626d", "#a2a9b4")
RULE = ("#dfe2e7", "#33383f")
PAPER = ("#ffffff", "#15181c")
WARNING = ("#fff6e0", "#35290f")
WARNING_EDGE = ("#c98a00", "#b98a2a")
GOOD = ("#1f7a3d", "#63c987")
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
    **{f"series-{index}": colors for index, colors in enumerate(PALETTE)},
}


def series_variable(index: int) -> str:
    """The CSS color of the series of that number; after eight the colors repeat."""
    return f"var(--series-{index % len(PALETTE)})"
