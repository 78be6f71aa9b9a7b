"""One task of an experiment: an entry, or a measurement, with all its seeds."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._custom_types import Params
from .._lines import MOST_PARAMS_LOGGED
from .._random import Purpose, seeded_key, stream
from .._run import Run
from .._updates import TrainingError
from ..records import EvaluationLine, RunError
from ..records.run import EVALUATION_FILE
from .base import AbstractEntry, AbstractExperiment
from .layout import open_run, read_measured, write_measured
from .losses import losses_at
from .traces import read_traces

_DONE = ("finished", "stopped")


class TaskProgress(NamedTuple):
    """The progress of one task since its last message.

    - `label`, `seed`: the run at work.
    - `steps`: problem steps done since the last message; skipped ones count.
    - `loss`: the loss just seen, of training or of evaluation; NaN if there is none.
    """

    label: str
    seed: int
    steps: int
    loss: float


def run_entry(
    experiment: AbstractExperiment, label: str, directory: Path
) -> Iterator[TaskProgress]:
    """Trains and evaluates an entry with every seed, one after the other.

    All in one process, so that every program is compiled once. What is finished is kept.
    """
    entry = experiment.entry(label)
    for seed in experiment.seed_values:
        key = seeded_key(seed)
        params = entry.problem.init_params(key=stream(key, Purpose.PARAMS))
        run = open_run(experiment, entry, seed, params, directory)
        with run.logging_to(*experiment.loggers):
            for steps, loss in _run_and_evaluate(run, entry, key, params):
                yield TaskProgress(label, seed, steps, loss)


def run_measurement(
    experiment: AbstractExperiment, label: str, directory: Path
) -> Iterator[TaskProgress]:
    """Measures with every seed that has not been measured with, one after the other."""
    measurement = experiment.measurement(label)
    values = read_measured(directory, measurement.label)
    traces = read_traces(experiment, directory)
    for seed in experiment.seed_values:
        loss = math.nan
        if seed not in values:
            logged = {label: t for label, found in traces.items() for t in found if t.seed == seed}
            found, loss = measurement.measure(seeded_key(seed), logged)
            values[seed] = np.array(found, dtype=float)
            write_measured(experiment, directory, measurement.label, values)
        yield TaskProgress(measurement.label, seed, measurement.num_steps, loss)


def _run_and_evaluate(run: Run, entry: AbstractEntry, key, params) -> Iterator[tuple[int, float]]:
    done = 0
    if run.read_status().state not in _DONE:
        for steps, loss in _run(run, entry, key, params):
            yield max(0, steps - done), loss
            done = max(done, steps)
    yield entry.training_steps - done, math.nan
    left = entry.num_evaluations * entry.evaluation_steps
    for count, loss in _evaluate(run, entry, key, params):
        left -= count * entry.evaluation_steps
        yield count * entry.evaluation_steps, loss
    yield left, math.nan


def _run(run: Run, entry: AbstractEntry, key, params: Params) -> Iterator[tuple[int, float]]:
    """The steps run so far and the losses; a training that cannot go on ends in its words."""
    try:
        yield from entry.run(run, key, params)
    except TrainingError as error:
        run.finish("stopped", str(error))
    except Exception as error:
        run.finish("failed", f"{type(error).__name__}: {error}")
        raise


def _evaluate(run: Run, entry: AbstractEntry, key, params: Params) -> Iterator[tuple[int, float]]:
    """Evaluates the logged parameters, unless that has been done; numbers and losses."""
    lines = {line.update: line.params for line in run.read_metrics()}
    last = max(lines)
    updates = [u for u in lines if u % entry.evaluation.every == 0 or u == last]
    if [line.update for line in run.read_evaluations()] == updates:
        return
    (run.directory / EVALUATION_FILE).unlink(missing_ok=True)
    points = [lines[update] for update in updates]
    if any(params is None for params in points):
        raise RunError(
            f"the run in {run.directory} has parameters that are not logged, as more than "
            f"{MOST_PARAMS_LOGGED} are not, and nothing to evaluate"
        )
    found = losses_at(
        entry.evaluation.problem, np.array(points, dtype=float),
        like=params, key=key, num_episodes=entry.evaluation.num_episodes,
    )  # fmt: skip
    done = 0
    for losses, errors in found:
        for loss, error in zip(losses.tolist(), errors.tolist(), strict=True):
            run.append(EvaluationLine(update=updates[done], loss=loss, standard_error=error))
            done += 1
        yield len(losses), float(losses[-1])
