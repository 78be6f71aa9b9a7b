"""The choice of learning rates: of each estimator the one with the lowest loss on other seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._statistics.summarize import Metric, choose_metric
from ...records import Chart, Series, Study, read_run
from ..learning_rates import best_rate, is_at_edge
from .comparison import final_losses
from .plan import Planned


@dataclass(frozen=True)
class RateChoice:
    """The losses of an estimator with each learning rate, of which one is chosen.

    - `rates`: in increasing order.
    - `losses`: final losses, shape (rates, seeds); infinite for runs that diverged.
    """

    estimator: str
    rates: tuple[float, ...]
    losses: np.ndarray

    @property
    def best(self) -> int:
        """The place of the chosen rate."""
        return best_rate(self.losses)

    @property
    def rate(self) -> float:
        return self.rates[self.best]

    @property
    def cautions(self) -> list[str]:
        """Sentences for the report."""
        if not np.any(np.isfinite(self.losses)):
            return [f"{self.estimator} diverged with every learning rate."]
        if not is_at_edge(self.best, len(self.rates)):
            return []
        where = "lower" if self.best == 0 else "higher"
        return [
            f"The rate chosen for {self.estimator}, {self.rate:g}, is at the edge of the grid: a "
            f"{where} one may be better."
        ]


def choose_rates(planned: Sequence[Planned]) -> tuple[list[RateChoice], Metric]:
    """The choice for each estimator, from runs that are all done."""
    runs = tuple(read_run(each.path) for each in planned)
    metric = choose_metric(Study(runs, None, Path()))
    losses: dict[str, dict[float, list[float]]] = {}
    for each, loss in zip(planned, final_losses(runs, metric).tolist(), strict=True):
        assert each.learning_rate is not None
        of_rate = losses.setdefault(each.estimator, {}).setdefault(each.learning_rate, [])
        of_rate.append(loss if math.isfinite(loss) else math.inf)
    choices = [
        RateChoice(estimator, tuple(sorted(found)), np.array([found[r] for r in sorted(found)]))
        for estimator, found in losses.items()
    ]
    return choices, metric


def draw_rates(choices: Sequence[RateChoice], metric: Metric) -> list[Chart]:
    """The chart of final losses against learning rates; none if all diverged."""
    series = []
    for choice in choices:
        finite = np.where(np.isfinite(choice.losses), choice.losses, np.nan)
        if metric.scale == "log":
            finite = np.where(finite > 0, finite, np.nan)
        if np.any(np.isfinite(finite)):
            rates = np.array(choice.rates)
            series.append(Series.line(choice.estimator, rates, np.mean(finite, axis=1)))
            points = np.repeat(rates, finite.shape[1]), finite.ravel()
            series.append(Series.points(choice.estimator, *points))
    if not series:
        return []
    note = (
        "Dots are runs with seeds that no other figure shows, lines their means; where one of them "
        "diverged there is no mean. Of each label that rate was taken at which the fewest runs "
        "diverged, and of these the one of lowest mean: "
        + ", ".join(f"{choice.estimator} {choice.rate:g}" for choice in choices)
        + "."
    )
    return [
        Chart(
            title=f"final {metric.name} against learning rate",
            x_label="learning rate",
            y_label=f"final {metric.name}",
            x_scale="log",
            y_scale="log" if metric.scale == "log" else "linear",
            note=note,
            series=series,
        )
    ]
