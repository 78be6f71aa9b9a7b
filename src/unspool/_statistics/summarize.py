"""Statistics over seeds: the metric of each run, its curves, final values, times to targets."""

import math
from dataclasses import dataclass

import numpy as np

from ..records import LoggedMetrics, LoggedRun, Study
from .curves import Curve, finite_prefix, log_curve, mean_curve
from .intervals import Interval, spread

AXES = ("update", "steps", "sequential_steps", "seconds")
"""The axes that the metric is drawn and counted against; `steps` includes the warm-up."""

WIDE_RATIO = 20.0
"""Losses that are all positive are drawn on a log scale beyond this ratio, by default."""


@dataclass(frozen=True)
class Metric:
    """The loss that is reported: `evaluation` or `training`, its name and the scale of its axis.

    `floor` is the smallest positive value of all runs, and `is_positive` says whether all values
    are; those that are not have no place on a log scale. Losses are shown times `factor`: with a
    negative one more is better. A threshold is reached by the first value there, or, if the metric
    `stays`, by the first that only such values follow.
    """

    source: str
    name: str
    scale: str
    floor: float
    is_positive: bool
    factor: float = 1.0
    stays: bool = False

    @property
    def higher_is_better(self) -> bool:
        """True if larger values are better."""
        return self.factor < 0

    @property
    def reaching(self) -> str:
        """The side of a threshold on which a value has reached it."""
        side = "at or above" if self.higher_is_better else "at or below"
        return f"for good {side}" if self.stays else side


@dataclass(frozen=True, eq=False)
class MetricSeries:
    """The metric of one run, with its positions along every axis."""

    run: LoggedRun
    positions: dict[str, np.ndarray]
    value: np.ndarray

    @property
    def reaches_end(self) -> bool:
        """True if there is a value at the last update of the run, finite or not."""
        return bool(self.positions["update"][-1] >= self.run.metrics.update[-1])

    @property
    def final(self) -> float:
        """The mean of the last fifth of the values; NaN without one at the end of the run."""
        return final_value(self.value) if self.reaches_end else math.nan


@dataclass(frozen=True, eq=False)
class TimeToTarget:
    """The cost at which each run of a label reaches a threshold; NaN if it never does."""

    threshold: float
    positions: dict[str, np.ndarray]

    @property
    def num_runs(self) -> int:
        return len(self.positions["update"])

    @property
    def num_reached(self) -> int:
        return int(np.sum(np.isfinite(self.positions["update"])))

    def interval(self, axis: str) -> Interval:
        """Over the runs that reached it."""
        return spread(self.positions[axis], is_positive=True)


@dataclass(frozen=True, eq=False)
class LabelSummary:
    """All runs of one label; `finals` has NaN for a run that ended without a finite metric.

    `costs` has what each run took in all, along every axis.
    """

    label: str
    runs: tuple[LoggedRun, ...]
    series: tuple[MetricSeries, ...]
    finals: np.ndarray
    parameters: tuple[Interval, ...]
    times_to_target: tuple[TimeToTarget, ...]
    costs: dict[str, np.ndarray]
    is_positive: bool = False

    @property
    def final(self) -> Interval:
        return spread(self.finals, is_positive=self.is_positive)


def positions_at(records: LoggedMetrics, updates: np.ndarray) -> dict[str, np.ndarray]:
    """The costs at the given updates, along every axis."""
    spent = {
        "steps": records.steps + records.warmup_steps,
        "sequential_steps": records.sequential_steps,
        "seconds": records.seconds,
    }
    positions = {name: np.interp(updates, records.update, cost) for name, cost in spent.items()}
    return {"update": updates, **positions}


def choose_metric(study: Study) -> Metric:
    """Evaluation losses where every label has some, else training losses."""
    evaluated = {run.config.label for run in study.runs if run.evaluation is not None}
    source = "evaluation" if evaluated == set(study.labels) else "training"
    named = study.experiment.metric if study.experiment else None
    name = (named or "evaluation loss") if source == "evaluation" else "training loss"
    factor = study.experiment.metric_factor if study.experiment and source == "evaluation" else 1.0
    losses = factor * np.concatenate(
        [np.empty(0), *(_losses(run, source)[1] for run in study.runs)]
    )
    finite = losses[np.isfinite(losses)]
    positive = finite[finite > 0]
    floor = float(positive.min()) if len(positive) else 1.0
    is_positive = 0 < len(positive) == len(finite)
    scale = study.experiment.metric_scale if study.experiment else None
    if scale is None:
        wide = is_positive and finite.max() > WIDE_RATIO * floor
        scale = "log" if wide else "linear"
    stays = study.experiment.stays if study.experiment else False
    return Metric(source, name, scale, floor, is_positive, factor, stays)


def training_metric(study: Study) -> Metric:
    """The training loss, which is drawn beside evaluations, on a scale of its own."""
    losses = np.concatenate([_losses(run, "training")[1] for run in study.runs])
    finite = losses[np.isfinite(losses)]
    is_positive = len(finite) > 0 and float(finite.min()) > 0
    floor = float(finite.min()) if is_positive else 1.0
    scale = "log" if is_positive and finite.max() > WIDE_RATIO * floor else "linear"
    return Metric("training", "training loss", scale, floor, is_positive)


def _losses(run: LoggedRun, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Updates and losses; the record of update 0 has no training loss."""
    if source == "training":
        trained = run.metrics.update > 0
        return run.metrics.update[trained], run.metrics.loss[trained]
    if run.evaluation is None:
        return np.empty(0), np.empty(0)
    return run.evaluation.update, run.evaluation.loss


def metric_series(run: LoggedRun, metric: Metric) -> MetricSeries | None:
    """The metric of one run; None if it has no value."""
    updates, losses = _losses(run, metric.source)
    if len(updates) == 0:
        return None
    return MetricSeries(run, positions_at(run.metrics, updates), metric.factor * losses)


def tail_length(count: int) -> int:
    """The number of evaluations in the last 20 % of `count`, rounded up."""
    return -(-count // 5)


def final_value(values: np.ndarray) -> float:
    """The mean of the last 20 % of some evaluations; NaN if one of them is not finite."""
    tail = values[-tail_length(len(values)) :]
    return float(np.mean(tail)) if np.all(np.isfinite(tail)) else math.nan


def time_to_target(runs: tuple[LoggedRun, ...], metric: Metric, threshold: float) -> TimeToTarget:
    """The cost at which each run has the metric at the threshold, or better."""
    positions = {axis: np.full(len(runs), math.nan) for axis in AXES}
    for index, run in enumerate(runs):
        series = metric_series(run, metric)
        if series is None:
            continue
        sign = -1 if metric.higher_is_better else 1
        reached = sign * series.value <= sign * threshold
        if metric.stays:
            reached = np.logical_and.accumulate(reached[::-1])[::-1]
        hits = np.flatnonzero(reached)
        if len(hits):
            for axis in AXES:
                positions[axis][index] = series.positions[axis][hits[0]]
    return TimeToTarget(threshold, positions)


def final_parameters(runs: tuple[LoggedRun, ...]) -> tuple[Interval, ...]:
    """Each parameter at the last record, over the runs; empty if one of them logs none."""
    params = [run.metrics.params for run in runs if run.metrics.params is not None]
    if len(params) < len(runs) or len({path.shape[1] for path in params}) > 1:
        return ()
    return tuple(spread(column) for column in np.stack([path[-1] for path in params]).T)


def summarize(study: Study, metric: Metric) -> tuple[LabelSummary, ...]:
    """One summary for each label, in the order in which labels appear."""
    given = study.experiment.thresholds if study.experiment else ()
    thresholds = sorted(set(given), reverse=True)
    summaries = []
    for label in study.labels:
        runs = tuple(run for run in study.runs if run.config.label == label)
        found = [metric_series(run, metric) for run in runs]
        spent = [positions_at(run.metrics, run.metrics.update[-1:]) for run in runs]
        summaries.append(
            LabelSummary(
                label=label,
                runs=runs,
                series=tuple(one for one in found if one is not None),
                finals=np.array([math.nan if one is None else one.final for one in found]),
                parameters=final_parameters(runs),
                times_to_target=tuple(time_to_target(runs, metric, x) for x in thresholds),
                costs={axis: np.array([each[axis][0] for each in spent]) for axis in AXES},
                is_positive=metric.is_positive,
            )
        )
    return tuple(summaries)


def metric_curve(summary: LabelSummary, metric: Metric, axis: str) -> Curve | None:
    """The metric of a label along an axis; None if no run has two finite values.

    On a log scale mean and interval are those of the logarithms.
    """
    pairs = [finite_prefix(one.positions[axis], one.value) for one in summary.series]
    if metric.scale == "log":
        return log_curve(summary.label, pairs)
    return mean_curve(summary.label, pairs, is_positive=metric.is_positive)


def diagnostic_curve(summary: LabelSummary, name: str) -> Curve | None:
    """What limits the trainings of a label, against updates, where it is known and above zero."""
    pairs = []
    for run in summary.runs:
        value = getattr(run.metrics, name)
        is_shown = value > 0
        pairs.append((run.metrics.update[is_shown], value[is_shown]))
    return log_curve(summary.label, pairs)


def parameter_curve(summary: LabelSummary, index: int) -> Curve | None:
    """One parameter of a label against updates."""
    pairs = [
        finite_prefix(run.metrics.update, run.metrics.params[:, index])
        for run in summary.runs
        if run.metrics.params is not None
    ]
    return mean_curve(summary.label, pairs)
