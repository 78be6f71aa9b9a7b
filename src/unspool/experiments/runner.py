"""Running an experiment: all entries with all seeds, then the words about them."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._run import Run
from .base import AbstractExperiment, Trace
from .folder import EXPERIMENT_FILE, check_directory, run_directory
from .pool import Failed, work_through
from .work import Advance, run_entry


class Progress(NamedTuple):
    """How far an experiment has come.

    - `done`, `total`: problem steps of all trainings and evaluations; what was finished before
      counts as done.
    - `label`, `seed`: the run that was at work last.
    - `loss`: the last loss that was seen, of training or evaluation; NaN if there is none.
    """

    done: int
    total: int
    label: str
    seed: int
    loss: float


class ExperimentError(RuntimeError):
    """Some runs of an experiment failed; the others are there."""


def reproduce(
    experiment: AbstractExperiment,
    directory: Path | str,
    *,
    num_processes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Runs every entry with every seed, evaluates them, and writes `experiment.json`.

    Runs that are finished in the directory are kept, others go on from their last checkpoint; so
    a call that was interrupted is made once more. A training that cannot go on, because
    its numbers are no longer finite, is an outcome and no failure.

    **Arguments:**

    - `experiment`: what to run.
    - `directory`: where; each run gets `LABEL-SEED` in it.
    - `num_processes`: entries at a time; by default one for each core. With 1 everything runs in
      this process. More are spawned, so that a script has to call this below
      `if __name__ == "__main__"`.
    - `on_progress`: called with every `Progress`.

    **Raises:** `RunError` if the directory holds another experiment or other settings, which is
    left as it was; `ExperimentError` after everything else is done if an entry failed.
    """
    directory = Path(directory)
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    check_directory(experiment, directory)
    directory.mkdir(parents=True, exist_ok=True)
    num_seeds = len(experiment.seed_values)
    costs = {
        entry.label: num_seeds
        * (entry.training_steps + len(entry.evaluated) * entry.evaluation_steps)
        for entry in experiment.entries()
    }
    labels = sorted(costs, key=lambda label: -costs[label])
    tasks = [(experiment, label, directory) for label in [*labels, None]]
    num_processes = min(num_processes or _num_cores(), len(tasks))
    done, total, failures, description = 0, sum(costs.values()), [], None
    with contextlib.closing(work_through(_perform, tasks, num_processes)) as messages:
        for message in messages:
            if isinstance(message, Failed):
                label = tasks[message.task][1] or "the description"
                failures.append(f"{label} ({message.reason})")
            elif isinstance(message.message, Advance):
                advance = message.message
                done += advance.steps
                if on_progress is not None:
                    on_progress(Progress(done, total, advance.label, advance.seed, advance.loss))
            else:
                description = message.message
    if description is not None:
        charts = experiment.charts(_traces(experiment, directory))
        _write(directory / EXPERIMENT_FILE, description | {"charts": charts})
    if failures:
        raise ExperimentError(f"in {directory} failed: {'; '.join(failures)}; the rest is there")


def _perform(
    experiment: AbstractExperiment, label: str | None, directory: Path
) -> Iterator[Advance | dict[str, Any]]:
    if label is None:
        yield experiment.describe()
    else:
        yield from run_entry(experiment, label, directory)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _traces(experiment: AbstractExperiment, directory: Path) -> dict[str, tuple[Trace, ...]]:
    """What was logged of each label, one trace for each seed that has any."""
    found: dict[str, tuple[Trace, ...]] = {}
    for entry in experiment.entries():
        traces = []
        for seed in experiment.seed_values:
            path = run_directory(directory, entry.label, seed)
            if not (path / "config.json").exists():
                continue
            if lines := Run.open(path).read("metrics"):
                updates, params = ([line[name] for line in lines] for name in ("update", "params"))
                traces.append(Trace(seed, np.array(updates), np.array(params)))
        found[entry.label] = tuple(traces)
    return found


def _write(path: Path, contents: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(_finite(contents)) + "\n")
    os.replace(partial, path)


def _finite(value: Any) -> Any:
    """The same with null for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
