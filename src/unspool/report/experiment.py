"""The description of an experiment: titles, expectations, surface and charts."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .schema import JsonObject, ReportError, read_object

EXPERIMENT_FILE = "experiment.json"


@dataclass(frozen=True, eq=False)
class Surface:
    """A loss over two of the parameters; row `i` of `loss` belongs to `y[i]`."""

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    label: str
    scale: str
    x_index: int
    y_index: int


@dataclass(frozen=True)
class Marker:
    """A named point in the space of the parameters."""

    label: str
    point: tuple[float, ...]


@dataclass(frozen=True)
class Claim:
    """An expected range for one statistic of one label.

    `statistic` is `final`, `parameter:INDEX` or `first:THRESHOLD`.
    """

    text: str
    label: str
    statistic: str
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ChartSeries:
    label: str
    style: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Picture:
    """A picture that the experiment drew; the note is its caption."""

    title: str
    note: str
    path: Path


@dataclass(frozen=True)
class Chart:
    """A further figure that the experiment itself computed; the note is its caption."""

    title: str
    x_label: str
    y_label: str
    x_scale: str
    y_scale: str
    note: str
    series: tuple[ChartSeries, ...]


@dataclass(frozen=True)
class Experiment:
    """The contents of `experiment.json`; all but `name` and `title` may be empty."""

    name: str
    title: str
    source: str
    description: str
    metric: str | None
    metric_scale: str | None
    metric_factor: float
    thresholds: tuple[float, ...]
    parameter_names: tuple[str, ...] | None
    surface: Surface | None
    markers: tuple[Marker, ...]
    claims: tuple[Claim, ...]
    charts: tuple[Chart, ...]
    pictures: tuple[Picture, ...]


def read_experiment(directory: Path) -> Experiment:
    """Reads `experiment.json` of a directory; raises `ReportError` for what is malformed."""
    fields = read_object(directory / EXPERIMENT_FILE)
    fields.check_format(1)
    expected = [_read_expected(entry) for entry in fields.objects("expected")]
    claims = [_read_claim(entry) for entry in fields.objects("claims")]
    scale = fields.choice("metric_scale", ("log", "linear")) if fields.has("metric_scale") else None
    return Experiment(
        name=fields.text("name"),
        title=fields.text("title"),
        source=fields.text("source") if fields.has("source") else "",
        description=fields.text("description") if fields.has("description") else "",
        metric=fields.text("metric") if fields.has("metric") else None,
        metric_scale=scale,
        metric_factor=_read_factor(fields),
        thresholds=_read_thresholds(fields),
        parameter_names=fields.texts("parameter_names"),
        surface=_read_surface(fields.object("surface")) if fields.has("surface") else None,
        markers=tuple(
            Marker(entry.text("label"), tuple(entry.numbers("point").tolist()))
            for entry in fields.objects("markers")
        ),
        claims=tuple(expected + claims),
        charts=tuple(_read_chart(entry) for entry in fields.objects("charts")),
        pictures=tuple(_read_picture(entry, directory) for entry in fields.objects("pictures")),
    )


def _read_factor(fields: JsonObject) -> float:
    factor = fields.number("metric_factor", 1.0)
    if not np.isfinite(factor) or factor == 0:
        raise fields.error("metric_factor", "a finite number other than 0")
    return factor


def _read_picture(fields: JsonObject, directory: Path) -> Picture:
    path = directory / fields.text("file")
    if path.suffix != ".png" or not path.is_file():
        raise fields.error("file", f"a PNG file in {directory}")
    return Picture(fields.text("title"), fields.text("note", ""), path)


def _read_thresholds(fields: JsonObject) -> tuple[float, ...]:
    thresholds = fields.numbers("thresholds") if fields.has("thresholds") else np.empty(0)
    if not np.all(np.isfinite(thresholds)):
        raise fields.error("thresholds", "a list of finite numbers")
    return tuple(sorted(set(thresholds.tolist()), reverse=True))


def _read_range(fields: JsonObject) -> tuple[float, float]:
    """The ends of a range; a missing or null end leaves that side open."""
    low = fields.number("low") if fields.has("low") else -np.inf
    high = fields.number("high") if fields.has("high") else np.inf
    if low > high:
        raise fields.error("low", f"at most 'high', which is {high:g}")
    return low, high


def _read_expected(fields: JsonObject) -> Claim:
    threshold = fields.number("threshold")
    low, high = _read_range(fields)
    text = fields.text("note") if fields.has("note") else ""
    return Claim(text, fields.text("label"), f"first:{threshold:g}", low, high)


def _read_claim(fields: JsonObject) -> Claim:
    statistic = fields.text("statistic")
    number = r"-?\d+(\.\d*)?([eE][-+]?\d+)?"
    if not re.fullmatch(rf"final|parameter:\d+|first:{number}", statistic):
        raise fields.error("statistic", '"final", "parameter:INDEX" or "first:THRESHOLD"')
    low, high = _read_range(fields)
    return Claim(fields.text("text"), fields.text("label"), statistic, low, high)


def _read_surface(fields: JsonObject) -> Surface:
    x, y = fields.numbers("x"), fields.numbers("y")
    for name, values in (("x", x), ("y", y)):
        if len(values) < 2 or not np.all(np.diff(values) > 0):
            raise fields.error(name, "a list of at least two increasing numbers")
    return Surface(
        x=x,
        y=y,
        loss=fields.table("loss", len(y), len(x)),
        label=fields.text("label", "loss"),
        scale=fields.choice("scale", ("log", "linear"), "linear"),
        x_index=fields.integer("x_index", 0),
        y_index=fields.integer("y_index", 1),
    )


def _read_chart(fields: JsonObject) -> Chart:
    return Chart(
        title=fields.text("title"),
        x_label=fields.text("x_label", ""),
        y_label=fields.text("y_label", ""),
        x_scale=fields.choice("x_scale", ("log", "linear"), "linear"),
        y_scale=fields.choice("y_scale", ("log", "linear"), "linear"),
        note=fields.text("note", ""),
        series=tuple(_read_chart_series(entry) for entry in fields.objects("series")),
    )


def _read_chart_series(fields: JsonObject) -> ChartSeries:
    style = fields.choice("style", ("points", "line", "band"), "line")
    x = fields.numbers("x")
    needed = ("low", "high") if style == "band" else ("y",)
    values = {
        name: fields.numbers(name) if fields.has(name) or name in needed else np.empty(0)
        for name in ("y", "low", "high")
    }
    for name, array in values.items():
        if len(array) not in ((len(x),) if name in needed else (0, len(x))):
            raise ReportError(
                f"{fields.where}: {name!r} has {len(array)} numbers, but must have as many "
                f"as 'x', which has {len(x)}."
            )
    return ChartSeries(fields.text("label"), style, x, **values)
