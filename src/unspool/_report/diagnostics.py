"""Diagnostics: reasons not to trust a row of numbers."""

import math

import numpy as np

from .._statistics.intervals import format_number, t_interval
from .._statistics.summarize import LabelSummary, Metric, MetricSeries, tail_length
from ..records import LoggedRun, Study
from .options import format_options

MIN_SEEDS = 3


def diagnose(summary: LabelSummary, metric: Metric) -> list[str]:
    """Reasons why the numbers of a label may mislead; empty if there are none."""
    found = [
        *_seed_diagnostics(summary.runs),
        *_status_diagnostics(summary.runs),
        *_value_diagnostics(summary, metric),
        *_threshold_diagnostics(summary),
    ]
    final = summary.final
    if final.known and final.standard_error < 1e-6 * abs(final.mean):
        found.append("the seeds do not differ, so the interval says nothing")
    if len(final.groups) > 1:
        found.append("the runs end in two groups, so the mean is like none of them")
    elif final.known and final.high - final.low > 0.5 * abs(final.mean):
        ends = "range of the runs" if final.groups else "interval"
        found.append(f"{ends} wider than half the mean")
    if any(np.any(run.metrics.dropped > 0) for run in summary.runs):
        count = sum(bool(np.any(run.metrics.dropped > 0)) for run in summary.runs)
        found.append(f"workers were dropped in {format_seeds(count, len(summary.runs))}")
    if still_improving(summary, metric):
        found.append(
            f"the metric was still {'rising' if metric.higher_is_better else 'falling'} at the end"
        )
    return found


def format_seeds(count: int, total: int) -> str:
    """`2 of 5 seeds`, `all 5 seeds`, `the only seed`."""
    if total == 1:
        return "the only seed"
    return f"all {total} seeds" if count == total else f"{count} of {total} seeds"


def _seed_diagnostics(runs: tuple[LoggedRun, ...]) -> list[str]:
    if len(runs) >= MIN_SEEDS:
        return []
    return ["only 1 seed, so no interval" if len(runs) == 1 else f"only {len(runs)} seeds"]


def _status_diagnostics(runs: tuple[LoggedRun, ...]) -> list[str]:
    found = []
    for state in ("running", "stopped", "diverged", "failed"):
        ended = [run for run in runs if run.status.state == state]
        if not ended:
            continue
        first = ended[0]
        ending = "not finished" if state == "running" else state
        seeds = ", ".join(str(run.config.seed) for run in ended)
        where = _place(first)
        where = f"seed {first.config.seed} {where}" if len(ended) > 1 else where
        # What may have caused it, and what to do, was said when it happened.
        message = first.status.message.partition(". ")[0]
        message = f": {message}" if message else ""
        plural = "s" if len(ended) > 1 else ""
        found.append(f"training of seed{plural} {seeds} {ending}, {where}{message}")
    return found


def _place(run: LoggedRun) -> str:
    """How far a run has come: `at update 190 of 500`, `after all 500 updates`."""
    made, planned = int(run.metrics.update[-1]), run.config.num_updates
    return f"after all {planned} updates" if made >= planned else f"at update {made} of {planned}"


def _value_diagnostics(summary: LabelSummary, metric: Metric) -> list[str]:
    found = []
    missing = len(summary.runs) - len(summary.series)
    if missing:
        found.append(f"no {metric.source} loss in {format_seeds(missing, len(summary.runs))}")
    broken = [
        (series.positions["update"][~np.isfinite(series.value)][0], series.run.config.seed)
        for series in summary.series
        if not np.all(np.isfinite(series.value))
    ]
    if broken:
        first, seed = min(broken)
        count = format_seeds(len(broken), len(summary.runs))
        found.append(f"loss not finite in {count}, first at update {first:.0f} of seed {seed}")
    late = [series.run for series in summary.series if not series.reaches_end]
    if late and metric.source == "evaluation":
        seeds = ", ".join(str(run.config.seed) for run in late)
        evaluated = max(run.evaluation.update[-1] for run in late if run.evaluation is not None)
        found.append(
            f"no final evaluation of seed{'s' if len(late) > 1 else ''} {seeds}: the last is at "
            f"update {evaluated:.0f}"
        )
    lost = int(np.sum(~np.isfinite(summary.finals))) - missing
    if lost:
        found.append(f"the final metric leaves out {format_seeds(lost, len(summary.runs))}")
    return found


def _threshold_diagnostics(summary: LabelSummary) -> list[str]:
    """One clause for each group of thresholds that equally many seeds missed."""
    groups: dict[int, list[str]] = {}
    for time in summary.times_to_target:
        missed = time.num_runs - time.num_reached
        if missed:
            groups.setdefault(missed, []).append(format_number(time.threshold))
    total = len(summary.runs)
    return [
        ("no seed reached " if missed == total else f"{missed} of {total} seeds never reached ")
        + ", ".join(thresholds)
        for missed, thresholds in groups.items()
    ]


def _improvement(series: MetricSeries, metric: Metric) -> tuple[float, float]:
    """Improvement of the metric between the halves of its last 20 %, and its standard error."""
    tail = series.value[-tail_length(len(series.value)) :]
    half = len(tail) // 2
    if half < 2 or not np.all(np.isfinite(tail)):
        return math.nan, math.nan
    early, late = tail[:half], tail[-half:]
    variance = np.var(early, ddof=1) + np.var(late, ddof=1)
    fall = float(np.mean(early) - np.mean(late))
    return -fall if metric.higher_is_better else fall, math.sqrt(variance / half)


def still_improving(summary: LabelSummary, metric: Metric) -> bool:
    """True if the metric improves within its last 20 %, by over 1 % of it and not by chance.

    With three seeds or more chance is judged by the interval over seeds, else by the scatter
    of the evaluations of each.
    """
    gains = np.array([_improvement(series, metric) for series in summary.series]).reshape(-1, 2)
    gains = gains[np.isfinite(gains[:, 0])]
    if len(gains) == 0 or not np.mean(gains[:, 0]) > 0.01 * abs(summary.final.mean):
        return False
    if len(gains) >= MIN_SEEDS:
        return t_interval(gains[:, 0]).low > 0
    return bool(np.all(gains[:, 0] > 2 * gains[:, 1]))


def study_warnings(study: Study) -> list[str]:
    """Reasons why the labels of a study may not be comparable with one another."""
    found = []
    estimands: dict[str, list[str]] = {}
    problems: dict[str, list[str]] = {}
    for run in study.runs:
        label, estimand = run.config.label, run.config.estimator.estimand
        for groups, key in ((estimands, estimand), (problems, _format_problem(run))):
            labels = groups.setdefault(key, [])
            if label not in labels:
                labels.append(label)
    if len(estimands) > 1:
        found.append(f"These estimate different gradients: {_format_groups(estimands)}. ")
        found[-1] += "They need not settle in the same place, however long they train."
    if len(problems) > 1:
        found.append(f"These solve different problems: {_format_groups(problems)}. ")
        found[-1] += "Their losses are not comparable."
    return found


def _format_problem(run: LoggedRun) -> str:
    options = format_options(run.config.problem.options)
    return f"{run.config.problem.name} with {options}" if options else run.config.problem.name


def _format_groups(groups: dict[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(labels)} ({key})" for key, labels in groups.items())
