"""The `experiment.json` of a comparison: its title, how it was made, and its charts."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..._config.compare_config import CompareConfig
from ..._statistics.intervals import format_number
from ..._statistics.summarize import Metric, choose_metric, metric_series
from ...records import Chart, Experiment, Study, read_run
from ...records.files import FORMAT
from .comparison import ComparisonRow, final_losses
from .plan import Planned
from .rates import RateChoice

_MOST_NAMED = 4


def describe_comparison(
    config: CompareConfig,
    planned: Sequence[Planned],
    rows: dict[str, ComparisonRow],
    choices: Sequence[RateChoice],
    charts: Sequence[Chart],
) -> Experiment:
    """The page's head, thresholds and charts."""
    sentences = [_limits(config), *_of_rates(config, choices)]
    return Experiment(
        format=FORMAT,
        name="comparison",
        title=_title(config),
        description=" ".join(sentences),
        thresholds=_thresholds(planned, rows),
        charts=charts,
    )


def describe_selection(config: CompareConfig, charts: Sequence[Chart]) -> Experiment:
    """The head of the page of the runs that learning rates are chosen by."""
    return Experiment(
        format=FORMAT,
        name="learning rates",
        title=f"Learning rates for {_names(config)} on {_problem(config)}",
        description="Runs with seeds of their own, by which learning rates are chosen.",
        charts=charts,
    )


def _title(config: CompareConfig) -> str:
    about = f"{_names(config)} on {_problem(config)}"
    return f"Comparison of {about}" if len(config.estimators) > 1 else about


def _names(config: CompareConfig) -> str:
    labels = list(config.estimators)
    if len(labels) > _MOST_NAMED:
        return f"{len(labels)} estimators"
    *others, last = labels
    return f"{', '.join(others)} and {last}" if others else last


def _problem(config: CompareConfig) -> str:
    return config.problem.name.rpartition(":")[2]


def _limits(config: CompareConfig) -> str:
    """A sentence on what ends a run."""
    limits = []
    if config.num_updates is not None:
        limits.append(f"{format_number(float(config.num_updates))} updates")
    if config.num_steps is not None:
        steps = format_number(float(config.num_steps))
        limits.append(
            f"as many updates as fit into {steps} problem steps, those before the first update "
            "included"
        )
    if config.seconds is not None:
        limits.append(f"{config.seconds:g} seconds of training")
    limits = limits or ["1000 updates"]
    if config.patience is not None:
        limits.append(f"{config.patience} evaluations in a row without a lower loss")
    if config.target_loss is not None:
        limits.append(f"an evaluated loss of {config.target_loss:g}")
    which = " or after ".join(limits)
    first = ", whichever comes first" if len(limits) > 1 else ""
    return f"Each run ends after {which}{first}."


def _of_rates(config: CompareConfig, choices: Sequence[RateChoice]) -> list[str]:
    """Sentences on how learning rates were chosen."""
    if not choices:
        return []
    grid = ", ".join(f"{rate:g}" for rate in sorted(config.learning_rates))
    seeds = config.selection_seed_values
    chosen = f"Each label has the learning rate that was best for it, of {grid}, with {len(seeds)} "
    chosen += "other seeds, none of which is shown." if len(seeds) > 1 else "other seed."
    return [chosen, *(sentence for choice in choices for sentence in choice.cautions)]


def _thresholds(planned: Sequence[Planned], rows: dict[str, ComparisonRow]) -> list[float]:
    """The loss that every label gets to if it gets anywhere, rounded upwards; none for one label.

    That is the highest mean of final losses among labels that end lower than they began.
    """
    if len(rows) < 2:
        return []
    runs = tuple(read_run(each.path) for each in planned)
    metric = choose_metric(Study(runs, None, Path()))
    finals, starts = final_losses(runs, metric), _first_losses(runs, metric)
    better = {label: np.array([each.estimator == label for each in planned]) for label in rows}
    means = [
        float(np.mean(finals[own]))
        for own in better.values()
        if np.all(np.isfinite(finals[own])) and np.mean(finals[own]) < np.mean(starts[own])
    ]
    return [_round_up(max(means))] if means else []


def _first_losses(runs, metric: Metric) -> np.ndarray:
    series = [metric_series(run, metric) for run in runs]
    return np.array([math.nan if one is None else one.value[0] for one in series])


def _round_up(value: float) -> float:
    """The number to two digits that is not below."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")
