"""The loss of the incumbent against all steps spent on it, and comparisons of methods."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..._statistics.curves import finite_prefix, mean_curve
from ..._statistics.intervals import format_estimate, spread, t_interval
from ..._statistics.summarize import final_value
from ...records import Series
from ..base import Trace

Traces = Mapping[str, tuple[Trace, ...]]


def steps_spent(trace: Trace, evaluation_cost: int) -> np.ndarray:
    """Problem steps run by the end of each evaluation, which costs `evaluation_cost` of them."""
    steps = np.interp(trace.evaluated, trace.updates, trace.steps)
    return steps + evaluation_cost * np.arange(1, len(steps) + 1)


def incumbent_curves(traces: Traces, evaluation_costs: Mapping[str, int]) -> list[Series]:
    """A line of means over seeds, and the band of their 95 % intervals, for each label.

    Where such an interval would reach below zero, the band is the range of the runs.

    **Arguments:**

    - `traces`: the runs of each label.
    - `evaluation_costs`: the steps that each label is charged for an evaluation.
    """
    series = []
    for label, found in traces.items():
        cost = evaluation_costs[label]
        pairs = [finite_prefix(steps_spent(trace, cost), trace.losses) for trace in found]
        is_positive = all(bool(np.all(values > 0)) for _, values in pairs)
        curve = mean_curve(label, pairs, is_positive=is_positive)
        if curve is None:
            continue
        series.append(Series.line(label, curve.x, curve.mean))
        if curve.num_seeds > 1:
            series.append(Series.band(label, curve.x, curve.low, curve.high))
    return series


def format_final_losses(traces: Traces) -> str:
    """The final losses of all labels, as means over seeds with their 95 % intervals."""
    ends = []
    for label, found in traces.items():
        losses = np.array([final_value(trace.losses) for trace in found])
        interval = spread(losses, is_positive=bool(np.all(losses > 0)))
        ends.append(f"{label} {format_estimate(interval)}")
    return "; ".join(ends)


def format_differences(traces: Traces, label: str, others: Sequence[str]) -> str:
    """The differences between the final losses of a label and of others, seed by seed."""
    own = {trace.seed: final_value(trace.losses) for trace in traces.get(label, ())}
    parts = []
    for other in others:
        pairs = [
            final_value(trace.losses) - own[trace.seed]
            for trace in traces.get(other, ())
            if trace.seed in own
        ]
        gap = t_interval(np.array(pairs))
        side = "below" if gap.mean >= 0 else "above"
        gap = gap if gap.mean >= 0 else t_interval(-np.array(pairs))
        if gap.known:
            chance = "" if gap.low > 0 else ", which may be chance"
            parts.append(f"{format_estimate(gap)} {side} {other}{chance}")
    return f"{label} ends {'; '.join(parts)}" if parts else ""
