"""Matplotlib figures as small inline SVG whose colors follow the page."""

import hashlib
import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import INK, NAMED, PALETTE, dashes, marker

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "path.simplify": True,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.parse_math": False,
    "text.usetex": False,
}
IMAGE_RESOLUTION = 110

_CODES = {name: f"#0a00{index:02x}" for index, name in enumerate(NAMED)}
_NAMES = {code: name for name, code in _CODES.items()}


def page_color(name: str) -> str:
    """The placeholder for a color of the page; `to_svg` turns it into a CSS variable."""
    return _CODES[name]


def series_color(index: int) -> str:
    """The placeholder for the color of the series of that number; after eight they repeat."""
    return page_color(f"series-{index % len(PALETTE)}")


def line_style(index: int, num_points: int = 0) -> dict[str, Any]:
    """Matplotlib options of a series' line: its color, its dashes, and some ten of its markers."""
    every = max(1, num_points // 10)
    return {
        "color": series_color(index),
        "linestyle": (0, dashes(index)) if dashes(index) else "-",
        "linewidth": 1.5,
        "marker": marker(index),
        "markersize": 4.0,
        "markevery": (index * every // 3 % every, every),
        "gid": series_id(index),
    }


def series_id(index: int) -> str:
    """The mark of what belongs to the series of that number, which a reader can hide."""
    return f"series-{index}"


@contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Matplotlib's own defaults and `SETTINGS`, whatever the user's settings; undone at the end."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, laid out to fit its labels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    return figure


def to_svg(figure: Figure, name: str, description: str, framed: Sequence[Axes] = ()) -> str:
    """The figure as an `<svg>` element: the same bytes every time, without metadata.

    `name` keeps its identifiers apart from those of other figures in the page; `description`
    is what a screen reader says in its place. Of the axes that are `framed` it says which place is
    which value. Called, as all drawing, within `matplotlib_defaults`.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"unspool-{name}"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", dpi=IMAGE_RESOLUTION, metadata=nothing)
    text = buffer.getvalue()
    start = text.index("<svg")
    body = text[text.index(">", start) + 1 :]
    view = re.search(r'viewBox="([^"]+)"', text[start:])
    box = view.group(1) if view else "0 0 100 100"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-label="{html.escape(description)}"{_frames(framed, box)}>'
    )
    return opening + _compact(_with_css_variables(body), name)


def _frames(framed: Sequence[Axes], box: str) -> str:
    """Where axes lie in the drawing, and the ends and scales of both, for a reader's pointer."""
    if not framed:
        return ""
    _, _, width, height = map(float, box.split())
    frames = []
    for axes in framed:
        place = axes.get_position()
        corners = place.x0 * width, place.x1 * width, place.y0 * height, place.y1 * height
        left, right, bottom, top = (round(corner, 2) for corner in corners)
        frames.append(
            {
                "box": [left, height - top, right, height - bottom],
                "x": [*axes.get_xlim(), axes.get_xscale()],
                "y": [*axes.get_ylim(), axes.get_yscale()],
            }
        )
    return f' data-frames="{html.escape(json.dumps(frames))}"'


def _with_css_variables(body: str) -> str:
    def variable(match: re.Match[str]) -> str:
        name = _NAMES.get(match.group(0))
        return f"var(--{name}, {NAMED[name][0]})" if name else match.group(0)

    colored = re.sub(r"#0a00[0-9a-f]{2}\b", variable, body)
    return colored.replace("#000000", f"var(--ink, {INK[0]})")


def _compact(body: str, name: str) -> str:
    """Two decimals in paths, no unused identifiers, no metadata, names of its own."""
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="series-(\d+)"', r'<g data-series="\1"', body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(<image [^>]*?) id="[^"]*"', r"\1", body)
    body = re.sub(r' d="[^"]*"', _round_path, body)
    body = body.replace("xlink:href", "href")
    prefix = "f" + hashlib.sha256(name.encode()).hexdigest()[:6]
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = body.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    return re.sub(r"\n\s*", "\n", body).strip()


def _round_path(match: re.Match[str]) -> str:
    def shorter(number: re.Match[str]) -> str:
        return f"{float(number.group(0)):.2f}".rstrip("0").rstrip(".")

    rounded = re.sub(r"-?\d+\.\d+", shorter, match.group(0))
    return re.sub(r"\s*\n\s*", "", rounded)
