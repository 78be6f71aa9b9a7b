"""Directories of runs and experiments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .distinguish import distinguish
from .experiment import Experiment
from .files import RunError, abbreviated, inside, read_record
from .run import CONFIG_FILE, LoggedRun, read_run

EXPERIMENT_FILE = "experiment.json"


@dataclass(frozen=True, eq=False)
class Study:
    """The runs that are shown together, with the experiment they belong to, if any.

    An experiment whose charts are all there is to see has no runs. Its pictures are files in the
    `directory`.
    """

    runs: tuple[LoggedRun, ...]
    experiment: Experiment | None
    directory: Path

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the runs, each once, in order of appearance."""
        return tuple(dict.fromkeys(run.config.label for run in self.runs))


def read_studies(directories: Sequence[Path]) -> list[Study]:
    """Reads runs and experiments in directories.

    Each directory with an `experiment.json` is a study of its own; all other runs together are
    one more. Where runs of one label differ in more than the seed, their labels grow by what
    differs: `NRES, learning_rate 0.1`.

    **Raises:** `RunError` for anything missing or malformed.

    **Example**, after that of `unspool.experiments.reproduce`:

    >>> from unspool.records import read_studies
    >>> (study,) = read_studies([Path("runs/small")])
    >>> study.experiment.title, study.labels
    ('A small experiment', ('BPTT',))
    """
    if not directories:
        raise RunError("No directory was given; give at least one run or experiment directory.")
    studies, loose = [], []
    for directory in dict.fromkeys(Path(entry) for entry in directories):
        if not directory.is_dir():
            raise RunError(f"{directory} is not a directory; give a run or an experiment.")
        if (directory / CONFIG_FILE).exists():
            loose.append(read_run(directory))
            continue
        described = (directory / EXPERIMENT_FILE).exists()
        experiment = _read_experiment(directory) if described else None
        has_charts = experiment is not None and len(experiment.charts) > 0
        found = _runs_in(directory) if has_charts else _run_directories(directory)
        runs = tuple(read_run(path) for path in found)
        if experiment:
            studies.append(Study(distinguish(runs), experiment, directory))
        else:
            loose.extend(runs)
    return studies + ([Study(distinguish(loose), None, Path())] if loose else [])


def _read_experiment(directory: Path) -> Experiment:
    """The description of an experiment, whose pictures are there."""
    path = directory / EXPERIMENT_FILE
    experiment = read_record(path, Experiment)
    for number, picture in enumerate(experiment.pictures, start=1):
        file = inside(directory, picture.file)
        if not picture.file.endswith(".png") or not file.is_file():
            raise RunError(
                f"{path}: 'pictures', entry {number}: 'file' is {abbreviated(picture.file)}, but "
                f"must be a PNG file in {directory}."
            )
    return experiment


def _runs_in(directory: Path) -> list[Path]:
    found = sorted(file.parent for file in directory.glob(f"*/{CONFIG_FILE}"))
    return [inside(directory, path.name) for path in found]


def _run_directories(directory: Path) -> list[Path]:
    """The runs in a directory; raises `RunError` if there are none."""
    if runs := _runs_in(directory):
        return runs
    children = sorted(path for path in directory.iterdir() if path.is_dir())
    experiments = [path.name for path in children if (path / EXPERIMENT_FILE).exists()]
    if experiments:
        raise RunError(
            f"{directory} holds experiments, not runs; give one or more of "
            f"{', '.join(experiments)} in it."
        )
    raise RunError(
        f"{directory} holds no run: neither it nor a directory in it has a {CONFIG_FILE}."
    )
