"""Comparison of a learned optimizer with tuned ones, as charts and as text."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from msgspec.structs import replace

from .._statistics.intervals import format_estimate, t_interval
from ..records import Chart, Series
from ..records.files import as_array

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
        """The number of the rate at which the fewest runs diverge, and of these the lowest end."""
        finite = np.isfinite(self.selection_losses)
        count = finite.sum(axis=1)
        ends = np.where(finite, self.selection_losses, 0.0).sum(axis=1) / np.maximum(count, 1)
        return int(np.lexsort((ends, -count))[0])

    @property
    def best_curves(self) -> Float[np.ndarray, "seeds points"]:
        return self.curves[self.best]


class Comparison(NamedTuple):
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
        return _chart(
            f"{self.loss[0].upper()}{self.loss[1:]} while training",
            ("steps", self.loss),
            series,
            " ".join(self.sentences()),
        )

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
        sentences = [
            "Where the runs of the figure above end, for every learning rate: means over the same "
            "seeds. The learned optimizer has no learning rate."
        ]
        if off:
            highest = max(_line_values(series), default=1.0)
            series.append(Series.points("off the chart", off, [highest] * len(off)))
            sentences.append(
                f"Points at the top stand for rates at which a run diverged, or ended above "
                f"{_MAX_RATIO:g} times the loss of fresh weights."
            )
        sentences += [
            f"{label} diverged at {_format_rate(rate)} in {_diverged_text(values)}."
            for label, grid in self.grids.items()
            for rate, values in zip(grid.rates, ends[label], strict=True)
            if not np.all(np.isfinite(values))
        ]
        chart = _chart(
            "Learning rates", ("learning rate", f"final {self.loss}"), series, " ".join(sentences)
        )
        return replace(chart, x_scale="log")

    def sentences(self) -> list[str]:
        """The final losses with their intervals, the verdicts, and notes on them."""
        count = self.num_seeds
        seeds = f"{count} seeds" if count > 1 else "a single seed"
        parts = [f"{format_estimate(t_interval(self.learned[:, -1]))} with the learned optimizer"]
        for label, grid in self.grids.items():
            rate = _format_rate(grid.rates[grid.best])
            final = format_estimate(t_interval(grid.best_curves[:, -1]))
            parts.append(f"{final} with {label} at a learning rate of {rate}")
        sentences = [
            f"After {self.steps[-1]} steps the {self.loss} is, as a mean over {seeds}, "
            f"{', '.join(parts[:-1])}, and {parts[-1]}."
        ]
        if count > 1:
            sentences.append("Bands and brackets are 95 % t-intervals over seeds.")
        for label, grid in self.grids.items():
            sentences += self._verdict(label, grid)
        sentences.append(
            "Each learning rate was chosen from its grid for the fewest diverged runs, and then "
            "the lowest final loss, on as many other runs, which are not shown. Runs of one seed "
            "start from the same weights and see the same batches, whatever the optimizer."
        )
        for label, grid in self.grids.items():
            if grid.best in (0, len(grid.rates) - 1):
                sentences.append(
                    f"The rate of {label} is at the end of its grid: a better one may lie beyond."
                )
        return sentences

    def _verdict(self, label: str, grid: Grid) -> list[str]:
        ours, theirs = self.learned[:, -1], grid.best_curves[:, -1]
        lost, lost_theirs = (int(np.sum(~np.isfinite(x))) for x in (ours, theirs))
        sentences = []
        if lost or lost_theirs:
            sentences.append(
                f"{_diverged_text(ours)} diverged with the learned optimizer, and "
                f"{_diverged_text(theirs)} with {label}; "
                "the means are over the others."
            )
        if lost != lost_theirs:
            winner = label if lost > lost_theirs else "the learned optimizer"
            return [
                *sentences,
                f"Of the two, {winner} is the one to trust, having diverged less often.",
            ]
        with np.errstate(invalid="ignore"):
            found = t_interval(ours - theirs)
        if found.count == 0:
            return sentences
        if not found.known:
            return [*sentences, f"One seed cannot tell the learned optimizer apart from {label}."]
        difference = format_estimate(found)
        numbers = f"seed by seed, learned minus {label} is {difference}"
        if found.low <= 0 <= found.high:
            return [*sentences, f"The learned optimizer and {label} are not told apart: {numbers}."]
        pair = ["the learned optimizer", label]
        pair = pair if found.high < 0 else pair[::-1]
        sentence = f"{pair[0]} ends lower than {pair[1]}: {numbers}."
        return [*sentences, sentence[0].upper() + sentence[1:]]


def _with_band(label: str, x: np.ndarray, values: np.ndarray) -> list[Series]:
    """The mean over seeds of what is finite, and the band of its 95 % t-interval."""
    found = [t_interval(column) for column in values.T]
    series = [Series.line(label, x, [i.mean for i in found])]
    if any(i.known for i in found):
        series.append(Series.band(label, x, [i.low for i in found], [i.high for i in found]))
    return series


def _chart(title: str, labels: tuple[str, str], series: list[Series], note: str) -> Chart:
    """A figure, logarithmic if all it shows is positive; bands are cut off at the axis."""
    values = _line_values(series)
    is_log = bool(values) and min(values) > 0
    if is_log:
        floor = min(values) / 2
        if any(np.any(as_array(s.low) < floor) for s in series):
            note += " Bands are cut off below the figure."
        series = [replace(s, low=np.maximum(as_array(s.low), floor).tolist()) for s in series]
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


def _format_rate(rate: float) -> str:
    return f"{rate:g}"


def _diverged_text(ends: np.ndarray) -> str:
    """The number of runs that diverged, as text."""
    return f"{int(np.sum(~np.isfinite(ends)))} of {len(ends)} runs"
