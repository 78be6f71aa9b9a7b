"""The outcome of a comparison, as records and as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._statistics.intervals import Interval, format_interval, format_mean, t_interval
from ..._statistics.summarize import Metric, choose_metric, metric_series
from ...records import LoggedRun, Study, read_run
from .plan import Planned

_HEADINGS = "estimator", "learning rate", "final loss", "95 % interval", "steps", "seconds"


@dataclass(frozen=True)
class ComparisonRow:
    """The runs of one estimator, an entry of each tuple for each seed.

    - `learning_rate`: the one that all of them have; `None` for an optimizer without.
    - `losses`: final losses, each the mean of the last fifth of a run's evaluations; NaN for a run
      that diverged.
    - `steps`, `seconds`: problem steps, those before the first update included, and seconds of
      training, compilation and evaluations left out.
    - `runs`: the directories of the runs.
    """

    learning_rate: float | None
    losses: tuple[float, ...]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    runs: tuple[Path, ...]

    @property
    def num_diverged(self) -> int:
        return sum(not math.isfinite(loss) for loss in self.losses)

    @property
    def mean(self) -> float:
        """The mean of the losses of runs that did not diverge; NaN if all did."""
        return self.interval.mean

    @property
    def interval(self) -> Interval:
        """That mean with its 95 % t-interval: `mean`, `low`, `high`, `standard_error`, `count`."""
        return t_interval(np.array(self.losses))


@dataclass(frozen=True)
class Comparison:
    """The outcome of `unspool.compare`; printed, it is a table.

    - `rows`: for each label a `ComparisonRow`, the lowest mean first. Where runs diverged, a label
      comes after those of which fewer did.
    - `page`: the report, an HTML file.
    - `earlier`: runs of other settings that were in the way of this call, where they are now.
    """

    rows: Mapping[str, ComparisonRow]
    page: Path
    earlier: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = _align([_HEADINGS, *(_cells(label, row) for label, row in self.rows.items())])
        diverged = {label: row for label, row in self.rows.items() if row.num_diverged}
        lines += [
            f"{row.num_diverged} of {len(row.losses)} runs of {label} diverged, and are left out"
            for label, row in diverged.items()
        ]
        lines += [f"moved, for its settings are others: {path}" for path in self.earlier]
        return "\n".join([*lines, f"report: {self.page}"])


def make_rows(planned: Sequence[Planned]) -> dict[str, ComparisonRow]:
    """The rows of runs that are done, the best first."""
    runs = tuple(read_run(each.path) for each in planned)
    metric = choose_metric(Study(runs, None, Path()))
    losses = final_losses(runs, metric).tolist()
    rows = {}
    for label in dict.fromkeys(each.estimator for each in planned):
        own = [number for number, each in enumerate(planned) if each.estimator == label]
        spent = [runs[number].metrics for number in own]
        rows[label] = ComparisonRow(
            learning_rate=planned[own[0]].learning_rate,
            losses=tuple(losses[number] for number in own),
            steps=tuple(int(x.steps[-1] + x.warmup_steps[-1]) for x in spent),
            seconds=tuple(float(x.seconds[-1]) for x in spent),
            runs=tuple(planned[number].path for number in own),
        )
    order = lambda label: (rows[label].num_diverged / len(rows[label].losses), rows[label].mean)
    return {label: rows[label] for label in sorted(rows, key=order)}


def final_losses(runs: Sequence[LoggedRun], metric: Metric) -> np.ndarray:
    """The final loss of each run, NaN for those that diverged."""
    found = []
    for run in runs:
        series = metric_series(run, metric) if run.status.state == "finished" else None
        found.append(math.nan if series is None else series.final)
    return np.array(found)


def _cells(label: str, row: ComparisonRow) -> tuple[str, ...]:
    rate = "–" if row.learning_rate is None else f"{row.learning_rate:g}"
    ends = format_interval(row.interval) or "–"
    steps, seconds = np.mean(row.steps), np.mean(row.seconds)
    return label, rate, format_mean(row.interval), ends, f"{steps:.0f}", f"{seconds:.3g}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows in columns, all but the first flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
