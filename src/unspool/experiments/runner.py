"""Running an experiment: all entries and measurements with all seeds, then `experiment.json`."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..records import Experiment, PictureFile
from ..records.files import write_record
from ..records.study import EXPERIMENT_FILE
from .base import AbstractExperiment, Picture
from .layout import PICTURES_FOLDER, check_directory, measurements
from .pool import TaskFailed, run_tasks
from .tasks import TaskProgress, run_entry, run_measurement
from .traces import read_traces


class Progress(NamedTuple):
    """The progress of an experiment, as `reproduce` reports it.

    - `done`, `total`: problem steps of all trainings, evaluations and measurements; what was
      finished before counts as done.
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
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    entries = experiment.entries()
    for package in {name: None for entry in entries for name in entry.packages}:
        importlib.import_module(package)
    check_directory(experiment, directory)
    directory.mkdir(parents=True, exist_ok=True)
    num_seeds = len(experiment.seed_values)
    costs = {
        entry.label: num_seeds
        * (entry.training_steps + entry.num_evaluations * entry.evaluation_steps)
        for entry in entries
    } | {found.label: num_seeds * found.num_steps for found in experiment.measurements()}
    labels = sorted(costs, key=lambda label: -costs[label])
    trainings = [entry.label for entry in entries]
    # Measurements may look at what trainings have logged.
    stages = (
        [*(label for label in labels if label in trainings), None],
        [label for label in labels if label not in trainings],
    )
    done, total, failures, description = 0, sum(costs.values()), [], None
    messages = _run_stages(experiment, directory, stages, num_processes)
    with contextlib.closing(messages):
        for label, message in messages:
            if isinstance(message, TaskFailed):
                failures.append(f"{label or 'the description'} ({message.reason})")
            elif isinstance(message.message, TaskProgress):
                progress = message.message
                done += progress.steps
                if on_progress is not None:
                    now = Progress(done, total, progress.label, progress.seed, progress.loss)
                    on_progress(now)
            else:
                description = message.message
    if description is not None:
        traces = read_traces(experiment, directory)
        charts = experiment.charts(traces)
        charts += experiment.measured_charts(measurements(experiment, directory))
        pictures = [_save(picture, directory) for picture in experiment.pictures(traces)]
        contents = msgspec.structs.replace(description, charts=charts, pictures=pictures)
        write_record(directory / EXPERIMENT_FILE, contents)
    if failures:
        raise ExperimentError(f"in {directory} failed: {'; '.join(failures)}; the rest is there")


def _run_stages(experiment, directory: Path, stages, num_processes: int | None):
    """The labels of all stages with their messages, one stage after the other."""
    for labels in filter(None, stages):
        tasks = [(experiment, label, directory) for label in labels]
        count = min(num_processes or _num_cores(), len(tasks))
        with contextlib.closing(run_tasks(_run_task, tasks, count)) as messages:
            for message in messages:
                yield labels[message.task], message


def _run_task(
    experiment: AbstractExperiment, label: str | None, directory: Path
) -> Iterator[TaskProgress | Experiment]:
    if label is None:
        yield experiment.describe()
    elif (measurement := experiment.measurement(label)) is not None:
        yield from run_measurement(experiment, measurement, directory)
    else:
        yield from run_entry(experiment, label, directory)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _save(picture: Picture, directory: Path) -> PictureFile:
    """The picture as a file, and what `experiment.json` says of it."""
    from PIL import Image

    file = Path(PICTURES_FOLDER) / f"{picture.name.replace(' ', '-')}.png"
    (directory / file).parent.mkdir(exist_ok=True)
    Image.fromarray(picture.pixels).save(directory / file)
    return PictureFile(title=picture.title, note=picture.note, file=file.as_posix())
