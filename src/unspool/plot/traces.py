"""What is drawn of a training, whether its records are at hand or in a directory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np

from .._config.describe_run import name_entries
from .._lines import MOST_PARAMS_LOGGED
from .._params import split
from .._run import Run
from .._statistics.summarize import positions_at
from .._updates import Record
from ..records import LoggedRun, RunError, read_studies

Traces = dict[str, list["Trace"]]
"""The trainings of each label, which differ in their seeds alone."""

_LEAST_EVALUATIONS = 3
"""With fewer, evaluations make no curve."""

_PARTS = "problem", "estimator", "optimizer", "num_updates"


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of a training, and what it had cost by then: updates, steps and seconds."""

    spent: dict[str, np.ndarray]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Trace:
    """A training: its losses, and a row of parameters for each record.

    `params` is `None` where they are too many to be logged, `evaluation` where there is none.
    """

    training: Losses
    evaluation: Losses | None
    params: np.ndarray | None
    names: Sequence[str] | None


class _Found(NamedTuple):
    """A training with what a run calls it, and its settings but for the seed."""

    label: str
    settings: str
    trace: Trace


def as_traces(runs: Any) -> Traces:
    """The trainings by label, those of the same settings together.

    **Raises:** `ValueError` for what is neither records nor runs, and where runs that are to have
    one label differ in more than the seed; `RunError` for directories that cannot be read.
    """
    if isinstance(runs, Mapping):
        return {str(label): _pool(str(label), those) for label, those in runs.items()}
    kinds: dict[str, dict[str, list[Trace]]] = {}
    for label, settings, trace in _find(runs):
        kinds.setdefault(label, {}).setdefault(settings, []).append(trace)
    return {
        f"{label} ({number})" if len(group) > 1 else label: traces
        for label, group in kinds.items()
        for number, traces in enumerate(group.values(), 1)
    }


def _pool(label: str, those: Any) -> list[Trace]:
    """The seeds of one label: several trainings' records, or runs of the same settings."""
    is_several = isinstance(those, list | tuple) and len(those) > 0
    if is_several and all(map(_is_records, those)):
        return [_trace_of_records(records) for records in those]
    found = _find(those)
    if (count := len({each.settings for each in found})) > 1:
        raise ValueError(
            f"runs with the label {label!r} must differ in nothing but the seed, got {count} "
            "different settings: give each a label of its own"
        )
    return [each.trace for each in found]


def _find(runs: Any) -> list[_Found]:
    """The records of one training, or the runs that are named, each on its own."""
    if isinstance(runs, Iterator):
        runs = list(runs)
    if _is_records(runs):
        return [_Found("", "", _trace_of_records(runs))]
    return [_Found(run.config.label, _settings(run), _trace_of_run(run)) for run in _read(runs)]


def _is_records(thing: Any) -> bool:
    return isinstance(thing, list | tuple) and bool(thing) and isinstance(thing[0], Record)


def _settings(run: LoggedRun) -> str:
    parts = {part: getattr(run.config, part) for part in _PARTS}
    return json.dumps(msgspec.to_builtins(parts), sort_keys=True, default=str)


def _read(runs: Any) -> list[LoggedRun]:
    one = isinstance(runs, str | Path | Run | LoggedRun)
    several = [runs] if one else runs
    legal = isinstance(several, list | tuple) and all(
        isinstance(run, str | Path | Run | LoggedRun) for run in several
    )
    if not legal or not several:
        raise ValueError(
            "runs must be the records of one training, runs or their directories, or a dict of "
            f"either by label, got {type(runs).__name__}" + ("" if several else " without entries")
        )
    logged = [run for run in several if isinstance(run, LoggedRun)]
    paths = [run.directory if isinstance(run, Run) else Path(run) for run in several
             if not isinstance(run, LoggedRun)]  # fmt: skip
    studies = read_studies(paths) if paths else []
    return [*logged, *(run for study in studies for run in study.runs)]


def _trace_of_records(records: Sequence[Record]) -> Trace:
    column = lambda read: np.array([read(record) for record in records], float)
    spent = {
        "updates": column(lambda record: record.update),
        "steps": column(lambda record: record.steps + record.warmup_steps),
        "seconds": column(lambda record: record.seconds),
    }
    training = Losses(spent, column(lambda record: record.loss))
    trained, _ = split(records[0].params)
    if sum(np.size(leaf) for leaf in jax.tree.leaves(trained)) > MOST_PARAMS_LOGGED:
        return Trace(training, None, None, None)
    params = np.stack([_flat(record.params) for record in records])
    return Trace(training, None, params, name_entries(trained))


def _flat(params: Any) -> np.ndarray:
    leaves = jax.tree.leaves(split(params)[0])
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])


def _trace_of_run(run: LoggedRun) -> Trace:
    metrics, evaluation = run.metrics, run.evaluation
    # Before the first update there is no loss of training.
    trained = metrics.update > 0
    if not np.any(trained):
        raise RunError(f"{run.path} has no record of an update yet; there is nothing to draw.")
    spent = lambda updates: (
        {"updates": updates}
        | {name: cost for name, cost in positions_at(metrics, updates).items() if name != "update"}
    )
    evaluated = None
    if evaluation is not None and len(evaluation.update) >= _LEAST_EVALUATIONS:
        evaluated = Losses(spent(evaluation.update), evaluation.loss)
    return Trace(
        training=Losses(spent(metrics.update[trained]), metrics.loss[trained]),
        evaluation=evaluated,
        params=metrics.params,
        names=run.config.parameter_names,
    )
