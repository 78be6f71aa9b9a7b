"""Charts, tables and pictures that an experiment brings along for its report."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from .files import Numbers

Scale = Literal["log", "linear"]


class Series(Struct, frozen=True, kw_only=True):
    """A line or points at heights `y`, or a band between `low` and `high`."""

    label: str
    style: Literal["points", "line", "band"] = "line"
    x: Numbers
    y: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()

    def __post_init__(self):
        needed = ("low", "high") if self.style == "band" else ("y",)
        for name in ("y", "low", "high"):
            count = len(getattr(self, name))
            if count != len(self.x) and (count or name in needed):
                raise ValueError(
                    f"{name!r} has {count} numbers, but must have as many as 'x', which has "
                    f"{len(self.x)}"
                )

    @classmethod
    def line(cls, label: str, x: ArrayLike, y: ArrayLike) -> "Series":
        """A line through points."""
        return cls(label=label, style="line", x=_numbers(x), y=_numbers(y))

    @classmethod
    def points(cls, label: str, x: ArrayLike, y: ArrayLike) -> "Series":
        """Points that no line connects."""
        return cls(label=label, style="points", x=_numbers(x), y=_numbers(y))

    @classmethod
    def band(cls, label: str, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> "Series":
        """An area between two lines."""
        ends = {"low": _numbers(low), "high": _numbers(high)}
        return cls(label=label, style="band", x=_numbers(x), **ends)


def _numbers(values: ArrayLike) -> Numbers:
    return np.asarray(values, dtype=float).tolist()


class Chart(Struct, frozen=True, kw_only=True):
    """A figure that the experiment itself computed; the note is its caption, in Markdown."""

    title: str
    x_label: str = ""
    y_label: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    note: str = ""
    series: Sequence[Series]


class Table(Struct, frozen=True, kw_only=True):
    """A table that the experiment itself computed; the note is its caption, in Markdown.

    The first entry of a row is a label. Others are numbers, texts, or `None` for what is not known.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    note: str = ""

    def __post_init__(self):
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns) or not isinstance(row[0], str):
                raise ValueError(
                    f"row {number} must be a label and {len(self.columns) - 1} entries, got {row!r}"
                )


class PictureFile(Struct, frozen=True, kw_only=True):
    """A picture that the experiment drew, a PNG file in its directory.

    The note is its caption, in Markdown.
    """

    title: str
    note: str = ""
    file: str
