"""Which label ends best, by how much, over how many seeds, and at what cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from .._statistics.intervals import (
    Interval,
    format_estimate,
    format_interval,
    format_mean,
    spread,
    t_interval,
)
from .._statistics.summarize import LabelSummary, Metric

MOST_NAMED = 5


@dataclass(frozen=True)
class Standing:
    """A label's place: its final metric, and how far that is behind the best label's.

    The difference is paired where both have the same seeds. Its interval excludes zero where seeds
    alone do not explain it; that of the best itself is not known.
    """

    label: str
    final: Interval
    num_runs: int
    behind: Interval
    costs: dict[str, Interval]

    @property
    def is_told_apart(self) -> bool:
        return self.behind.known and self.behind.low > 0


def rank(summaries: Sequence[LabelSummary], metric: Metric) -> list[Standing]:
    """The labels that have a final metric, the best first.

    One of which more runs have none comes after those of which fewer do.
    """
    sign = -1.0 if metric.higher_is_better else 1.0
    known = [summary for summary in summaries if summary.final.count]
    lost = lambda summary: 1 - summary.final.count / len(summary.runs)
    ordered = sorted(known, key=lambda summary: (lost(summary), sign * summary.final.mean))
    return [
        Standing(
            label=summary.label,
            final=summary.final,
            num_runs=len(summary.runs),
            behind=_difference(summary, ordered[0], sign),
            costs={axis: spread(cost, is_positive=True) for axis, cost in summary.costs.items()},
        )
        for summary in ordered
    ]


def _difference(summary: LabelSummary, best: LabelSummary, sign: float) -> Interval:
    """How much worse one label ends than another; nothing for one and the same."""
    if summary is best:
        return t_interval(np.empty(0))
    own, others = _by_seed(summary), _by_seed(best)
    if own.keys() == others.keys():
        return t_interval(sign * np.array([own[seed] - others[seed] for seed in own]))
    return _welch(sign * np.array([*own.values()]), sign * np.array([*others.values()]))


def _by_seed(summary: LabelSummary) -> dict[int, float]:
    seeds = [run.config.seed for run in summary.runs]
    pairs = zip(seeds, summary.finals.tolist(), strict=True)
    return {seed: final for seed, final in pairs if math.isfinite(final)}


def _welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """The difference of two means with Welch's 95 % interval."""
    mean, count = float(first.mean() - second.mean()), min(len(first), len(second))
    if count < 2:
        return Interval(mean, math.nan, math.nan, math.nan, count)
    parts = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Interval(mean, mean, mean, 0.0, count)
    spent = sum(p**2 / (len(x) - 1) for p, x in zip(parts, (first, second), strict=True))
    half_width = float(special.stdtrit(sum(parts) ** 2 / spent, 0.975)) * error
    return Interval(mean, mean - half_width, mean + half_width, error, count)


def verdict(standings: Sequence[Standing], metric: Metric) -> list[str]:
    """The outcome in sentences; none without two labels or a final value."""
    if not standings:
        return []
    best, *others = standings
    side = "highest" if metric.higher_is_better else "lowest"
    ends = f"ends {side}: " if others else "ends with "
    found = [
        f"{best.label} {ends}{_final(best, metric)}. {_cost(best)}",
    ]
    found += [_behind(other, best, metric) for other in others[: MOST_NAMED - 1]]
    if len(others) >= MOST_NAMED:
        count = len(others) - MOST_NAMED + 1
        found.append(f"{count} more {'is' if count == 1 else 'are'} in the table below.")
    return found


def _final(standing: Standing, metric: Metric) -> str:
    final, count = standing.final, standing.final.count
    value = f"{metric.name} {format_mean(final)}"
    if count == 1:
        return f"{value}, one seed, so that nothing says how much of it is chance"
    kind = "" if final.groups else "95 % interval "
    return f"{value}, mean of {count} seeds, {kind}{format_interval(final)}"


def _cost(standing: Standing) -> str:
    steps, seconds = (format_mean(standing.costs[name]) for name in ("steps", "seconds"))
    return f"One run took {steps} problem steps and {seconds} seconds of training."


def _behind(other: Standing, best: Standing, metric: Metric) -> str:
    side = "lower" if metric.higher_is_better else "higher"
    lost = other.num_runs - other.final.count
    left_out = f" ({lost} of {other.num_runs} seeds have no final value)" if lost else ""
    if not other.behind.known:
        return f"{other.label} ends {format_mean(other.behind)} {side}{left_out}."
    gap = f"{format_estimate(other.behind)} {side}"
    if other.is_told_apart:
        return f"{other.label} ends {gap}{left_out}."
    return f"{other.label} is not told apart from {best.label}: it ends {gap}{left_out}."
