"""Running an experiment: all entries and measurements with all seeds, then `experiment.json`."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .._counts import check_count
from ..records import Experiment, PictureFile
from ..records.files import write_record
from ..records.study import EXPERIMENT_FILE
from .base import AbstractExperiment, Picture
from .layout import PICTURES_FOLDER, check_directory, measurements
from .pool import TaskFailed, run_tasks
from .tasks import TaskProgress, run_entry, run_measurement
from .traces import read_traces


class Progress(NamedTuple):
    """The progress of an experiment, as `reproduce` and `unspool.compare` report it.

    - `done`, `total`: problem steps of all trainings, evaluations and measurements; what was
      finished before counts as done. Of a comparison that seconds end, microseconds of training.
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


class Task(NamedTuple):
    """A task for a process of its own.

    - `label`: what it is called if it fails.
    - `function`, `arguments`: the call that yields its `TaskProgress`, and anything else that it
      has to tell.
    """

    label: str
    function: Callable[..., Iterable[Any]]
    arguments: tuple[Any, ...]


class Stage(NamedTuple):
    """Tasks that run side by side, and how much of what they belong to was finished before."""

    tasks: Sequence[Task]
    finished: int = 0


class Outcome(NamedTuple):
    """The outcome of all tasks: which of them failed, and why, and what they told."""

    failures: list[str]
    told: list[Any]


def run_stages(
    stages: Iterable[Stage],
    total: int,
    num_processes: int | None,
    on_progress: Callable[[Progress], None] | None,
) -> Outcome:
    """Runs the tasks of all stages, one stage after the other, and adds up their progress.

    Stages may be made one by one: each is asked for when the one before it is over.
    """
    done, outcome = 0, Outcome([], [])
    for stage in stages:
        tasks = stage.tasks
        done += stage.finished
        count = max(1, min(num_processes or num_cores(), len(tasks)))
        messages = run_tasks(_call, [(task.function, task.arguments) for task in tasks], count)
        with contextlib.closing(messages):
            for message in messages:
                if isinstance(message, TaskFailed):
                    outcome.failures.append(f"{tasks[message.task].label} ({message.reason})")
                elif isinstance(message.message, TaskProgress):
                    made = message.message
                    done += made.steps
                    if on_progress is not None:
                        on_progress(Progress(done, total, made.label, made.seed, made.loss))
                else:
                    outcome.told.append(message.message)
    return outcome


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _call(function: Callable[..., Iterable[Any]], arguments: tuple[Any, ...]) -> Iterable[Any]:
    return function(*arguments)


def reproduce(
    experiment: AbstractExperiment,
    directory: Path | str,
    *,
    num_processes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Runs all trainings of an experiment with every seed, evaluates them, and measures.

    The directory then holds a run for each, and `experiment.json` for the report.

    Runs that are finished in the directory are kept, others go on from their last checkpoint; so
    a call that was interrupted is made once more. A training that cannot go on, because
    its numbers are no longer finite, is an outcome and no failure.

    **Arguments:**

    - `experiment`: what to run.
    - `directory`: where; each run gets `LABEL-SEED` in it, each measurement a file in `measured`.
    - `num_processes`: entries or measurements at a time; by default one for each core. With 1
      everything runs in this process. More are spawned, so that a script has to call this below
      `if __name__ == "__main__"`.
    - `on_progress`: called with every `Progress`.

    **Raises:** `RunError` if the directory holds another experiment or other settings, which is
    left as it was; `ExperimentError` after everything else is done if an entry failed.

    **Example**, after that of `AbstractExperiment`:

    >>> from pathlib import Path
    >>> from unspool.experiments import reproduce
    >>> reproduce(Small(), "runs/small", num_processes=1)
    >>> sorted(path.name for path in Path("runs/small").iterdir())
    ['BPTT-101', 'experiment.json']
    """
    directory = Path(directory)
    check_count(num_processes=num_processes)
    entries = experiment.entries()
    for package in {name: None for entry in entries for name in entry.packages}:
        importlib.import_module(package)
    check_directory(experiment, directory)
    directory.mkdir(parents=True, exist_ok=True)
    num_seeds = len(experiment.seed_values)
    trainings = {
        entry.label: num_seeds
        * (entry.training_steps + entry.num_evaluations * entry.evaluation_steps)
        for entry in entries
    }
    measured = {found.label: num_seeds * found.num_steps for found in experiment.measurements()}
    # Measurements may look at what trainings have logged.
    described = Task("the description", _describe, (experiment,))
    stages = (
        Stage([*_tasks(run_entry, experiment, trainings, directory), described]),
        Stage(_tasks(run_measurement, experiment, measured, directory)),
    )
    total = sum(trainings.values()) + sum(measured.values())
    outcome = run_stages(stages, total, num_processes, on_progress)
    for description in outcome.told:
        traces = read_traces(experiment, directory)
        numbers = measurements(experiment, directory)
        charts = experiment.charts(traces) + experiment.measured_charts(numbers)
        tables = experiment.tables(traces, numbers)
        pictures = [_save(picture, directory) for picture in experiment.pictures(traces)]
        contents = msgspec.structs.replace(
            description, charts=charts, tables=tables, pictures=pictures
        )
        write_record(directory / EXPERIMENT_FILE, contents)
    if outcome.failures:
        failed = "; ".join(outcome.failures)
        raise ExperimentError(f"in {directory} failed: {failed}; the rest is there")


def _tasks(function, experiment: AbstractExperiment, costs: dict[str, int], directory: Path):
    """A task for each label, those that take longest first."""
    labels = sorted(costs, key=lambda label: -costs[label])
    return [Task(label, function, (experiment, label, directory)) for label in labels]


def _describe(experiment: AbstractExperiment) -> Iterator[Experiment]:
    yield experiment.describe()


def _save(picture: Picture, directory: Path) -> PictureFile:
    """The picture as a file, and what `experiment.json` says of it."""
    from PIL import Image

    file = Path(PICTURES_FOLDER) / f"{picture.name.replace(' ', '-')}.png"
    (directory / file).parent.mkdir(exist_ok=True)
    Image.fromarray(picture.pixels).save(directory / file)
    return PictureFile(title=picture.title, note=picture.note, file=file.as_posix())
