"""Expected ranges against what was measured."""

from dataclasses import dataclass

import numpy as np

from .cautions import share
from .experiment import Claim, Experiment
from .fields import ReportError
from .intervals import (
    Interval,
    interval_words,
    mean_words,
    number_words,
    range_words,
    t_interval,
)
from .summarize import LabelSummary, Metric, first_reach


@dataclass(frozen=True)
class Comparison:
    """One expected range, what was measured, and whether it lies inside."""

    claim: Claim
    statistic: str
    measured: str
    verdict: str

    @property
    def expected(self) -> str:
        return range_words(self.claim.low, self.claim.high)


def compare(
    experiment: Experiment,
    summaries: tuple[LabelSummary, ...],
    metric: Metric,
    parameter_names: tuple[str, ...],
) -> list[Comparison]:
    """Judges every expected range by the mean over all seeds of its label.

    A first reach is `inside` only if every seed reached the threshold: the mean over those that
    did would flatter the rest. For the same reason a final value or a parameter is `outside`
    when a seed ended without a finite one.
    """
    by_label = {summary.label: summary for summary in summaries}
    comparisons = []
    for claim in experiment.claims:
        kind, _, detail = claim.statistic.partition(":")
        statistic = _statistic_words(kind, detail, metric, parameter_names)
        summary = by_label.get(claim.label)
        if summary is None:
            comparisons.append(Comparison(claim, statistic, "–", "not run"))
        elif kind == "first":
            comparisons.append(_compare_reach(claim, statistic, summary, metric))
        else:
            values = summary.finals
            if kind == "parameter":
                values = _parameter_values(summary, int(detail), claim)
            comparisons.append(_compare_values(claim, statistic, values, len(summary.runs)))
    return comparisons


def _statistic_words(kind: str, detail: str, metric: Metric, names: tuple[str, ...]) -> str:
    if kind == "final":
        return f"final {metric.name}"
    if kind == "first":
        return f"first update {metric.reaching} {number_words(float(detail))}"
    index = int(detail)
    return f"final {names[index]}" if index < len(names) else f"final parameter {index}"


def _parameter_values(summary: LabelSummary, index: int, claim: Claim) -> np.ndarray:
    """The parameter at the last record of each run; NaN for runs that log no parameters."""
    values = []
    for run in summary.runs:
        if index >= run.num_params:
            raise ReportError(
                f"The claim on {claim.label!r} has the statistic {claim.statistic!r}, but "
                f"{run.path} has {run.num_params} parameters, numbered from 0."
            )
        params = run.records.params
        values.append(np.nan if params is None else params[-1, index])
    return np.array(values)


def _inside(claim: Claim, mean: float) -> bool:
    return claim.low <= mean <= claim.high


def _measured(interval: Interval, unit: str = "") -> str:
    ends = interval_words(interval)
    return f"{mean_words(interval)}{unit} ({ends})" if ends else f"{mean_words(interval)}{unit}"


def _compare_values(claim: Claim, statistic: str, values: np.ndarray, num_runs: int) -> Comparison:
    interval = t_interval(values)
    if interval.count == 0:
        return Comparison(claim, statistic, "no finite value", "outside")
    measured = _measured(interval)
    if interval.count < num_runs:
        measured += f", {interval.count} of {num_runs} seeds"
        return Comparison(claim, statistic, measured, "outside")
    verdict = "inside" if _inside(claim, interval.mean) else "outside"
    return Comparison(claim, statistic, measured, verdict)


def _compare_reach(
    claim: Claim, statistic: str, summary: LabelSummary, metric: Metric
) -> Comparison:
    reach = first_reach(summary.runs, metric, float(claim.statistic.partition(":")[2]))
    if reach.num_reached == 0:
        return Comparison(claim, statistic, "–", "no seed reached it")
    interval = reach.interval("update")
    measured = f"{_measured(interval)}, {share(reach.num_reached, reach.num_runs)}"
    complete = reach.num_reached == reach.num_runs
    verdict = "inside" if complete and _inside(claim, interval.mean) else "outside"
    return Comparison(claim, statistic, measured, verdict)
