"""Comparison of a learned optimizer with tuned ones, as charts and as text."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from msgspec.structs import replace

from .._statistics.intervals import Interval, format_estimate, spread, t_interval
from ..records import Chart, Series
from .learning_rates import best_rate, is_at_edge
from .prose import prose

_MAX_RATIO = 10.0
"""Final losses up to this multiple of the loss of fresh weights are drawn."""


class Grid(NamedTuple):
    """Runs of one optimizer with every learning rate of a grid.

    - `rates`: the learning rates, in order.
    - `selection_losses`: final losses of the runs that a rate is chosen on.
    - `curves`: losses of other runs, those that are shown.
    """

    rates: tuple[float, ...]
    selection_losses: Float[np.ndarray, "rates seeds"]
    curves: Float[np.ndarray, "rates seeds points"]

    @property
    def best(self) -> int:
        """The place of the chosen rate."""
        return best_rate(self.selection_losses)

    @property
    def best_curves(self) -> Float[np.ndarray, "seeds points"]:
        return self.curves[self.best]


class Rival(NamedTuple):
    """Another optimizer at its best rate, beside the learned one.

    - `rate`, `at_edge`: that rate, and whether it is at an edge of its grid.
    - `final`, `lost`: its final loss, and how many of its runs diverged.
    - `gap`, `difference`: the learned optimizer's final losses minus its own, seed by seed.
    """

    label: str
    rate: str
    at_edge: bool
    final: str
    lost: int
    gap: Interval
    difference: str


class OptimizerComparison(NamedTuple):
    """The data of a comparison.

    - `steps`: when the losses of a curve were measured.
    - `loss`: what they are called.
    - `learned`: losses with the learned optimizer.
    - `grids`: the others by label, with the same weights and batches, seed by seed.
    """

    steps: Int[np.ndarray, " points"]
    loss: str
    learned: Float[np.ndarray, "seeds points"]
    grids: Mapping[str, Grid]

    @property
    def num_seeds(self) -> int:
        return len(self.learned)

    def charts(self) -> list[Chart]:
        return [self._over_steps(), self._over_rates()]

    def _over_steps(self) -> Chart:
        curves = {"learned": self.learned}
        curves |= {label: grid.best_curves for label, grid in self.grids.items()}
        series = [s for label, c in curves.items() for s in _with_band(label, self.steps, c)]
        title = f"{self.loss[0].upper()}{self.loss[1:]} while training"
        return _chart(title, ("steps", self.loss), series, self.summary())

    def _over_rates(self) -> Chart:
        ends = {label: grid.curves[:, :, -1] for label, grid in self.grids.items()}
        starts = np.concatenate([c[:, 0] for c in (self.learned, *_curves_of(self.grids))])
        ceiling = _MAX_RATIO * float(np.max(starts[np.isfinite(starts)], initial=0.0)) or np.inf
        series, off = [], []
        for label, grid in self.grids.items():
            on_chart = np.all(ends[label] <= ceiling, axis=1)
            values = np.where(on_chart[:, None], ends[label], np.nan)
            series += _with_band(label, np.array(grid.rates), values.T)
            off += [rate for rate, on in zip(grid.rates, on_chart, strict=True) if not on]
        rates = [rate for grid in self.grids.values() for rate in grid.rates]
        across = np.array([min(rates), max(rates)])
        series += _with_band("learned", across, np.repeat(self.learned[:, -1:], 2, axis=1))
        if off:
            highest = max(_line_values(series), default=1.0)
            series.append(Series.points("off the chart", off, [highest] * len(off)))
        diverged = [
            (label, f"{rate:g}", _num_diverged(values))
            for label, grid in self.grids.items()
            for rate, values in zip(grid.rates, ends[label], strict=True)
            if _num_diverged(values)
        ]
        values = {"count": self.num_seeds, "most": _MAX_RATIO}
        note = prose(__name__, "rates", off=off, diverged=diverged, **values)
        chart = _chart("Learning rates", ("learning rate", f"final {self.loss}"), series, note)
        return replace(chart, x_scale="log")

    def summary(self) -> str:
        """The final losses with their intervals, the verdicts, and notes on them."""
        return prose(
            __name__,
            "steps",
            steps=int(self.steps[-1]),
            loss=self.loss,
            count=self.num_seeds,
            final=format_estimate(_spread(self.learned[:, -1])),
            lost=_num_diverged(self.learned[:, -1]),
            rivals=[self._rival(label, grid) for label, grid in self.grids.items()],
        )

    def _rival(self, label: str, grid: Grid) -> Rival:
        theirs = grid.best_curves[:, -1]
        with np.errstate(invalid="ignore"):
            gap = t_interval(self.learned[:, -1] - theirs)
        return Rival(
            label=label,
            rate=f"{grid.rates[grid.best]:g}",
            at_edge=is_at_edge(grid.best, len(grid.rates)),
            final=format_estimate(_spread(theirs)),
            lost=_num_diverged(theirs),
            gap=gap,
            difference=format_estimate(gap),
        )


def _is_positive(values: np.ndarray) -> bool:
    return bool(np.all(values[np.isfinite(values)] > 0))


def _spread(values: np.ndarray) -> Interval:
    return spread(values, is_positive=_is_positive(values))


def _with_band(label: str, x: np.ndarray, values: np.ndarray) -> list[Series]:
    """The mean over seeds of what is finite, and the band of its 95 % t-interval.

    Where that would reach below zero for values that do not, the band is their range.
    """
    found = [t_interval(column) for column in values.T]
    series = [Series.line(label, x, [i.mean for i in found])]
    known = [i.known for i in found]
    low, high = (np.array([getattr(i, end) for i in found]) for end in ("low", "high"))
    if _is_positive(values) and np.any(low[known] <= 0):
        finite = np.where(np.isfinite(values), values, np.nan)[:, known]
        low[known], high[known] = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    return [*series, Series.band(label, x, low, high)] if any(known) else series


def _chart(title: str, labels: tuple[str, str], series: list[Series], note: str) -> Chart:
    """A figure, logarithmic if all it shows is positive."""
    is_log = min(_line_values(series), default=0.0) > 0
    return Chart(
        title=title,
        x_label=labels[0],
        y_label=labels[1],
        y_scale="log" if is_log else "linear",
        note=note,
        series=series,
    )


def _line_values(series: list[Series]) -> list[float]:
    """All finite values of the lines."""
    values = [y for s in series if s.style == "line" for y in s.y]
    return [y for y in values if y is not None and np.isfinite(y)]


def _curves_of(grids: Mapping[str, Grid]) -> list[np.ndarray]:
    return [curves for grid in grids.values() for curves in grid.curves]


def _num_diverged(ends: np.ndarray) -> int:
    return int(np.sum(~np.isfinite(ends)))
