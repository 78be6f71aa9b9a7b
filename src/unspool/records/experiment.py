"""The contents of `experiment.json`: titles, expectations, surface and charts."""

import math
import re
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from .chart import Chart, PictureFile, Scale, Table
from .files import Numbers

_STATISTIC = r"final|parameter:\d+|first:-?\d+(\.\d*)?([eE][-+]?\d+)?"


class Surface(Struct, frozen=True, kw_only=True):
    """A loss over two of the parameters; row `i` of `loss` belongs to `y[i]`."""

    x: Sequence[float]
    y: Sequence[float]
    loss: Sequence[Numbers]
    label: str = "loss"
    scale: Scale = "linear"
    x_index: int = 0
    y_index: int = 1

    def __post_init__(self):
        for name in ("x", "y"):
            if len(getattr(self, name)) < 2 or not np.all(np.diff(getattr(self, name)) > 0):
                raise ValueError(f"{name!r} must be a list of at least two increasing numbers")
        if [len(row) for row in self.loss] != [len(self.x)] * len(self.y):
            raise ValueError(f"'loss' must be {len(self.y)} rows of {len(self.x)} numbers")


class Marker(Struct, frozen=True):
    """A named point in the space of the parameters."""

    label: str
    point: Sequence[float]


class Claim(Struct, frozen=True):
    """An expected range for one statistic of one label; `None` leaves a side open.

    The statistic is `final`, `parameter:INDEX`, or `first:THRESHOLD` for the first update there.
    """

    label: str
    statistic: str
    low: float | None = None
    high: float | None = None
    text: str = ""

    def __post_init__(self):
        if not re.fullmatch(_STATISTIC, self.statistic):
            raise ValueError(
                f"'statistic' is \"{self.statistic}\", but must be "
                '"final", "parameter:INDEX" or "first:THRESHOLD"'
            )
        low, high = self.ends
        if low > high:
            raise ValueError(f"'low' is {low:g}, but must be at most 'high', which is {high:g}")

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the range, infinite where it is open."""
        low = -math.inf if self.low is None else float(self.low)
        return low, math.inf if self.high is None else float(self.high)

    def contains(self, value: float) -> bool:
        """True if the value lies in the range, ends included."""
        low, high = self.ends
        return low <= value <= high


class Expectation(Struct, frozen=True):
    """An expected range for the first update at which a label reaches a threshold."""

    label: str
    threshold: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __post_init__(self):
        self.as_claim()

    def as_claim(self) -> Claim:
        """The same as a claim."""
        return Claim(self.label, f"first:{self.threshold:g}", self.low, self.high, self.note)


class Details(Struct, frozen=True, kw_only=True):
    """Texts and numbers for the report of an experiment; all of them may be left out.

    - `description`: a text at its head, in Markdown.
    - `metric`: the name of what is evaluated, which is the loss times `metric_factor`: with a
      negative one more is better. `metric_scale` is that of its axis.
    - `thresholds`: values of the metric; what it costs to get there is reported. If it `stays`,
      that is to get there for good; noise makes a first value come early.
    - `surface`, `markers`: what the paths of parameters are drawn upon.
    - `expected`, `claims`: what was published.
    """

    description: str = ""
    metric: str | None = None
    metric_scale: Scale | None = None
    metric_factor: float = 1.0
    thresholds: Sequence[float] = ()
    stays: bool = False
    surface: Surface | None = None
    markers: Sequence[Marker] = ()
    expected: Sequence[Expectation] = ()
    claims: Sequence[Claim] = ()

    def __post_init__(self):
        if not math.isfinite(self.metric_factor) or self.metric_factor == 0:
            raise ValueError(
                f"'metric_factor' is {self.metric_factor:g}, but must be a finite number other "
                "than 0"
            )


class Experiment(Details, frozen=True, kw_only=True):
    """An experiment: what it is called, its details, and what it has drawn."""

    format: int
    name: str
    title: str
    source: str = ""
    parameter_names: Sequence[str] | None = None
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[PictureFile] = ()

    @property
    def all_claims(self) -> tuple[Claim, ...]:
        """The expectations in one form."""
        return (*(expectation.as_claim() for expectation in self.expected), *self.claims)
