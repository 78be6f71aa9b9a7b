"""What the configuration in hand is worth against all that was spent on it, and who wins."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..report.intervals import format_interval, format_mean, t_interval
from ..report.summarize import mean_curve, tail_length
from .base import Trace

Traces = Mapping[str, tuple[Trace, ...]]


def spent(trace: Trace, charge: int) -> np.ndarray:
    """Problem steps run by the end of each evaluation, at `charge` steps for each of these."""
    steps = np.interp(trace.evaluated, trace.updates, trace.steps)
    return steps + charge * np.arange(1, len(steps) + 1)


def final_loss(trace: Trace) -> float:
    """The mean of the last fifth of the evaluations, as the tables of a report have it."""
    return float(np.mean(trace.losses[-tail_length(len(trace.losses)) :]))


def curves(traces: Traces, charges: Mapping[str, int]) -> list[dict[str, Any]]:
    """A line of means over seeds, and the band of their 95 % intervals, for each label.

    **Arguments:**

    - `traces`: the runs of each label.
    - `charges`: the steps that each label is charged for an evaluation.
    """
    series: list[dict[str, Any]] = []
    for label, found in traces.items():
        curve = mean_curve(label, [_finite_start(trace, charges[label]) for trace in found])
        if curve is None:
            continue
        x = {"label": label, "x": curve.x.tolist()}
        series.append(x | {"style": "line", "y": curve.mean.tolist()})
        if curve.num_seeds > 1:
            ends = {"low": curve.low.tolist(), "high": curve.high.tolist()}
            series.append(x | {"style": "band"} | ends)
    return series


def ends_in_words(traces: Traces) -> str:
    """The final losses of all labels, as means over seeds with their 95 % intervals."""
    ends = []
    for label, found in traces.items():
        interval = t_interval(np.array([final_loss(trace) for trace in found]))
        ends.append(f"{label} {format_mean(interval)}{_in_brackets(format_interval(interval))}")
    return "; ".join(ends)


def differences_in_words(traces: Traces, label: str, others: Sequence[str]) -> str:
    """How far below or above others a label ends, seed by seed."""
    own = {trace.seed: final_loss(trace) for trace in traces.get(label, ())}
    words = []
    for other in others:
        pairs = [
            final_loss(trace) - own[trace.seed]
            for trace in traces.get(other, ())
            if trace.seed in own
        ]
        gap = t_interval(np.array(pairs))
        side = "below" if gap.mean >= 0 else "above"
        gap = gap if gap.mean >= 0 else t_interval(-np.array(pairs))
        if gap.known:
            chance = "" if gap.low > 0 else ", which may be chance"
            words.append(f"{format_mean(gap)} ({format_interval(gap)}) {side} {other}{chance}")
    return f"{label} ends {'; '.join(words)}" if words else ""


def _in_brackets(words: str) -> str:
    return f" ({words})" if words else ""


def _finite_start(trace: Trace, charge: int) -> tuple[np.ndarray, np.ndarray]:
    """What was spent and what was in hand for it, before the first loss that is not finite."""
    broken = np.flatnonzero(~np.isfinite(trace.losses))
    end = int(broken[0]) if len(broken) else len(trace.losses)
    return spent(trace, charge)[:end], trace.losses[:end]
