"""Losses against what they cost."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._statistics.curves import Curve, finite_prefix, log_curve, mean_curve
from .._statistics.summarize import WIDE_RATIO
from .traces import Losses, Traces, as_traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any  # matplotlib comes with an extra, and takes long to import.

_LABELS = {
    "updates": "updates",
    "steps": "problem steps, warm-up included",
    "seconds": "seconds of training, compilation left out",
}


def curves(runs: Any, *, x: str = "updates", ax: Axes | None = None) -> Axes:
    """Draws the loss of one or several trainings against what it cost.

    Trainings of one label are pooled: the line is their mean, and the band its 95 % t-interval, on
    a logarithmic axis those of the logarithms. Where the interval of positive losses would reach
    below zero, the band is their range; where trainings lie in two groups, each has a line. The
    axis is logarithmic where positive losses differ by a factor of more than 20. Losses are those
    of evaluations where every training has at least three, else those of training. A second call
    with the same axes adds to them.

    **Arguments:**

    - `runs`: the records of one training; a `Run`, its directory, a directory of runs, or a list of
      these; or a dict with any of it by label, `{"NRES": records, "PES": [first, second]}`. A list
      of several trainings' records in such a dict are the seeds of one setting. Runs with the label
      of one another are pooled if they differ in nothing but the seed, else numbered.
    - `x`: `"updates"`; `"steps"` of the problem, those before the first update included; or
      `"seconds"`, compilation left out.
    - `ax`: the axes of matplotlib to draw into; by default those of a new figure.

    **Returns:** the axes, to change or to save: `ax.figure.savefig("curves.png")`.

    **Raises:** `ValueError` for what is no training, has no finite loss, or another `x`; `RunError`
    for directories that cannot be read; `ImportError` without matplotlib, which comes with
    `pip install 'unspool[notebook]'`.

    **Example:**

    >>> problem, key = unspool.problems.Cubic(), jax.random.key(0)
    >>> train = lambda estimator: list(
    ...     unspool.train(problem, estimator, optax.sgd(0.01), num_updates=20, key=key)
    ... )
    >>> trained = {"BPTT": train(unspool.BPTT()), "NRES": train(unspool.NRES(20, 4, 0.1))}
    >>> ax = unspool.plot.curves(trained, x="steps")
    >>> ax.get_xlabel(), [line.get_label() for line in ax.get_lines()]
    ('problem steps, warm-up included', ['BPTT', 'NRES'])
    """
    from .style import count_series, count_steps, new_axes, series_style

    if x not in _LABELS:
        raise ValueError(f"x must be one of {', '.join(map(repr, _LABELS))}, got {x!r}")
    traces = as_traces(runs)
    losses, name = _choose_losses(traces)
    scale = _scale(losses)
    drawn = [_pool(label, those, x, scale) for label, those in losses.items()]
    ax = new_axes(ax)
    first = count_series(ax)
    if not ax.has_data():
        ax.set(xlabel=_LABELS[x], ylabel=name, yscale=scale)
        if x == "steps":
            count_steps(ax)
    for number, curve in enumerate(drawn, first):
        style = series_style(number)
        if curve.num_seeds > 1 and curve.runs is None:
            ax.fill_between(
                curve.x, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0
            )
        for place, line in enumerate(curve.lines):
            ax.plot(curve.x, line, label=None if place else curve.label, **style)
    if any(curve.label for curve in drawn):
        ax.legend(frameon=False)
    return ax


def _choose_losses(traces: Traces) -> tuple[dict[str, list[Losses]], str]:
    """The losses by label, and what they are called."""
    flat = [trace for group in traces.values() for trace in group]
    if all(trace.evaluation is not None for trace in flat):
        found = {
            label: [each.evaluation for each in group if each.evaluation]
            for label, group in traces.items()
        }
        return found, "evaluation loss"
    return {label: [each.training for each in group] for label, group in traces.items()}, "loss"


def _scale(losses: dict[str, list[Losses]]) -> Literal["linear", "log"]:
    values = np.concatenate([each.values for group in losses.values() for each in group])
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("runs must have a loss that is finite, got none")
    is_wide = values.min() > 0 and values.max() > WIDE_RATIO * values.min()
    return "log" if is_wide else "linear"


def _pool(label: str, losses: list[Losses], x: str, scale: str) -> Curve:
    """Mean and band over seeds; a single record of a training is a curve of one point."""
    pairs = [finite_prefix(each.spent[x], each.values) for each in losses]
    if scale == "log":
        curve = log_curve(label, pairs)
    else:
        is_positive = all(np.all(value > 0) for _, value in pairs)
        curve = mean_curve(label, pairs, is_positive=is_positive)
    if curve is None:
        place, value = pairs[0]
        return Curve(label, place[:1], value[:1], value[:1], value[:1], 1)
    return curve
