"""The entries of the table that sets trainings side by side."""

import math
from typing import Any

import numpy as np

from ..._statistics.intervals import t_factor
from ..._statistics.summarize import final_value
from ..base import Trace

ARRIVAL_COLUMNS = (
    "method",
    "seeds that arrive",
    "steps until then",
    "fewest",
    "most",
    "updates until then",
    "tail",
    "worst tail",
)


def arrivals(traces: tuple[Trace, ...], step_cost: float, threshold: float) -> list[Any]:
    """How many seeds arrive for good, and when, and the tails."""
    updates, steps, tails = [], [], []
    for trace in traces:
        high = np.flatnonzero(~(trace.losses <= threshold))
        index = int(high[-1]) + 1 if high.size else 0
        arrives = index < len(trace.losses)
        updates.append(float(trace.evaluated[index]) if arrives else math.inf)
        spent = np.interp(updates[-1], trace.updates, trace.steps) if arrives else math.inf
        steps.append(float(spent) * step_cost)
        tails.append(final_value(trace.losses))
    if not tails:
        return [None] * 7
    count = f"{sum(map(math.isfinite, updates))} of {len(updates)}"
    known = [
        np.median(steps),
        min(steps),
        max(steps),
        np.median(updates),
        np.mean(tails),
        np.max(tails),
    ]
    return [count, *(float(f"{x:.3g}") if np.isfinite(x) else None for x in known)]


def step_cost(traces: tuple[Trace, ...], others: tuple[Trace, ...]) -> float:
    """The time of a problem step over that of others, as logged; one while nothing is."""
    costs = [
        np.median([trace.seconds[-1] / max(trace.steps[-1], 1) for trace in each])
        for each in (traces, others)
        if each
    ]
    return float(costs[0] / costs[1]) if len(costs) == 2 and costs[1] > 0 else 1.0


def ratios(values: np.ndarray | None, others: np.ndarray | None) -> list[str | None]:
    """The variances over those of others, of an update and of an episode, with intervals of 95 %.

    The intervals are those of the logarithm, by the jackknife over seeds.
    """
    if values is None or others is None:
        return [None, None]
    if values is others:
        return ["1", "1"]
    log_ratio = lambda x, y: np.log(x.mean(axis=0) / y.mean(axis=0))
    count, without = len(values), lambda x, i: np.delete(x, i, axis=0)
    ratio = log_ratio(values, others)
    if count < 2:
        return [f"{x:.2g}" for x in np.exp(ratio)]
    left_out = [log_ratio(without(values, i), without(others, i)) for i in range(count)]
    reach = t_factor(count) * np.std(left_out, axis=0) * math.sqrt(count - 1)
    ends = np.exp([ratio, ratio - reach, ratio + reach]).T
    return [f"{x:.2g} ({low:.2g} to {high:.2g})" for x, low, high in ends]


def working_rates(
    tails: np.ndarray | None, factors: tuple[float, ...], threshold: float
) -> str | None:
    """The factors of the learning rate around one with which all but one in ten seeds arrive."""
    if tails is None:
        return None
    works = np.mean(tails <= threshold, axis=0) >= 0.9
    low = high = factors.index(1.0)
    if not works[low]:
        return "not the chosen one"
    while low > 0 and works[low - 1]:
        low -= 1
    while high + 1 < len(factors) and works[high + 1]:
        high += 1
    every = "all from " if high - low + 1 == len(factors) else ""
    return f"{every}{factors[low]:g} to {factors[high]:g} times"
