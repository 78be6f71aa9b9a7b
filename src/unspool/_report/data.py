"""The numbers of a figure, as CSV and JSON to take away, and for a reader's pointer."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np

from .._statistics.curves import thinned

COLUMNS = ("low", "high", "interval", "seeds", "run")


@dataclass(frozen=True, eq=False)
class Line:
    """What is drawn of one label: a line or points at `y`, and a band from `low` to `high`.

    - `style`: "line", "points" or "band".
    - `interval`: what the band is, as in `figures`.
    - `seeds`: how many runs `y` is the mean of; `run` names the one that it is of, if any.
    """

    label: str
    x: np.ndarray
    y: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    style: str = "line"
    interval: str = ""
    seeds: int | None = None
    run: str = ""

    def thinned(self, most: int) -> "Line":
        """The line with so many of its points at most, the first and the last among them."""
        kept = thinned(len(self.x), most)
        columns = {name: getattr(self, name) for name in ("x", "y", "low", "high")}
        thin = {name: None if each is None else each[kept] for name, each in columns.items()}
        return replace(self, **thin)


@dataclass(frozen=True, eq=False)
class FigureData:
    """The lines of a figure: for each panel the name of its values, and what is drawn there."""

    name: str
    x_label: str
    panels: Sequence[tuple[str, Sequence[Line]]]

    def as_json(self, numbers: dict[str, int]) -> dict[str, Any]:
        """Lists and numbers for JSON, with the number of each label's series."""
        return {
            "name": self.name,
            "x": self.x_label,
            "panels": [
                {"y": y_label, "lines": [_line(line, numbers) for line in lines]}
                for y_label, lines in self.panels
            ],
        }

    def as_csv(self) -> str:
        """A table with a row for every point, whose first line names the columns."""
        several = len(self.panels) > 1
        heads = ["panel"] * several + ["label", self.x_label]
        y_label = "value" if several else self.panels[0][0]
        rows: list[list[Any]] = [[*heads, y_label, *COLUMNS]]
        for panel, lines in self.panels:
            rows += [[panel] * several + list(row) for line in lines for row in _rows(line)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def as_link(self) -> str:
        """The CSV as an address that holds it all."""
        return csv_link(self.as_csv())


def csv_link(text: str) -> str:
    """A CSV file as an address that holds it all."""
    return "data:text/csv;charset=utf-8," + quote(text, safe=",-._~()*/:;=+")


def short(value: float) -> float | None:
    """Six digits of a number, and `None` for one that JSON cannot hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _line(line: Line, numbers: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"label": line.label, "series": numbers.get(line.label)}
    for name in ("x", "y", "low", "high"):
        if (values := getattr(line, name)) is not None:
            found[name] = _short(values)
    facts = {"interval": line.interval, "seeds": line.seeds, "run": line.run}
    return found | {name: fact for name, fact in facts.items() if fact}


def _short(values: Iterable[float]) -> list[float | None]:
    return [short(float(value)) for value in values]


def _rows(line: Line) -> Iterable[Sequence[Any]]:
    """The points of a line as rows of `COLUMNS`; an empty cell stands for what is not known."""
    nothing: list[float | None] = [None] * len(line.x)
    columns = [nothing if each is None else _short(each) for each in (line.y, line.low, line.high)]
    facts = line.interval, line.seeds, line.run
    for x, *values in zip(_short(line.x), *columns, strict=True):
        yield line.label, x, *values, *facts
