"""Expected ranges against what was measured."""

from dataclasses import dataclass

import numpy as np

from .._statistics.intervals import (
    format_estimate,
    format_number,
    format_range,
    t_interval,
)
from .._statistics.summarize import LabelSummary, Metric, time_to_target
from ..records import Claim, Experiment, RunError
from .diagnostics import format_seeds


@dataclass(frozen=True)
class Comparison:
    """One expected range, what was measured, and whether it lies inside."""

    claim: Claim
    statistic: str
    measured: str
    verdict: str

    @property
    def expected(self) -> str:
        return format_range(*self.claim.ends)


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
    for claim in experiment.all_claims:
        kind, _, detail = claim.statistic.partition(":")
        statistic = _format_statistic(kind, detail, metric, parameter_names)
        summary = by_label.get(claim.label)
        if summary is None:
            comparisons.append(Comparison(claim, statistic, "–", "not run"))
        elif kind == "first":
            comparisons.append(_compare_time(claim, statistic, summary, metric))
        else:
            values = summary.finals
            if kind == "parameter":
                values = _parameter_values(summary, int(detail), claim)
            comparisons.append(_compare_values(claim, statistic, values, len(summary.runs)))
    return comparisons


def _format_statistic(kind: str, detail: str, metric: Metric, names: tuple[str, ...]) -> str:
    if kind == "final":
        return f"final {metric.name}"
    if kind == "first":
        return f"first update {metric.reaching} {format_number(float(detail))}"
    index = int(detail)
    return f"final {names[index]}" if index < len(names) else f"final parameter {index}"


def _parameter_values(summary: LabelSummary, index: int, claim: Claim) -> np.ndarray:
    """The parameter at the last record of each run; NaN for runs that log no parameters."""
    values = []
    for run in summary.runs:
        if index >= run.config.num_params:
            raise RunError(
                f"The claim on {claim.label!r} has the statistic {claim.statistic!r}, but "
                f"{run.path} has {run.config.num_params} parameters, numbered from 0."
            )
        params = run.metrics.params
        values.append(np.nan if params is None else params[-1, index])
    return np.array(values)


def _compare_values(claim: Claim, statistic: str, values: np.ndarray, num_runs: int) -> Comparison:
    interval = t_interval(values)
    if interval.count == 0:
        return Comparison(claim, statistic, "no finite value", "outside")
    measured = format_estimate(interval)
    if interval.count < num_runs:
        measured += f", {interval.count} of {num_runs} seeds"
        return Comparison(claim, statistic, measured, "outside")
    verdict = "inside" if claim.contains(interval.mean) else "outside"
    return Comparison(claim, statistic, measured, verdict)


def _compare_time(
    claim: Claim, statistic: str, summary: LabelSummary, metric: Metric
) -> Comparison:
    time = time_to_target(summary.runs, metric, float(claim.statistic.partition(":")[2]))
    if time.num_reached == 0:
        return Comparison(claim, statistic, "–", "no seed reached it")
    interval = time.interval("update")
    measured = f"{format_estimate(interval)}, {format_seeds(time.num_reached, time.num_runs)}"
    complete = time.num_reached == time.num_runs
    verdict = "inside" if complete and claim.contains(interval.mean) else "outside"
    return Comparison(claim, statistic, measured, verdict)
