"""The layout of an experiment's directory, and the `config.json` of its runs."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jax.flatten_util import ravel_pytree

from .._citation import version
from .._custom_types import Params
from .._describe import describe, environment
from .._run import Run
from ..records import Config, EstimatorSetting, Measured, RunError, Setting
from ..records.files import FORMAT, as_array, plain, read_record, write_record
from ..records.run import CONFIG_FILE
from ..records.study import EXPERIMENT_FILE
from .base import AbstractEntry, AbstractExperiment

MEASURED_FOLDER = "measured"
PICTURES_FOLDER = "pictures"
_MAY_DIFFER = ("unspool", "environment", "parameter_names", "references")


def run_directory(directory: Path, label: str, seed: int) -> Path:
    """The directory of the run of a label with a seed."""
    return directory / f"{label.replace(' ', '-')}-{seed}"


def measured_file(directory: Path, label: str) -> Path:
    """The file of the numbers of a measurement."""
    return directory / MEASURED_FOLDER / f"{label.replace(' ', '-')}.json"


def read_measured(directory: Path, label: str) -> dict[int, np.ndarray]:
    """The numbers measured so far, by seed."""
    file = measured_file(directory, label)
    found = read_record(file, Measured).values if file.exists() else {}
    return {seed: as_array(numbers) for seed, numbers in found.items()}


def measurements(experiment: AbstractExperiment, directory: Path) -> dict[str, np.ndarray]:
    """The measurements of each label, one row for each seed that is there."""
    found = {}
    for measurement in experiment.measurements():
        values = read_measured(directory, measurement.label)
        if rows := [values[seed] for seed in experiment.seed_values if seed in values]:
            found[measurement.label] = np.stack(rows)
    return found


def write_measured(
    experiment: AbstractExperiment, directory: Path, label: str, values: dict[int, np.ndarray]
) -> None:
    """Writes the numbers measured so far, whole or not at all."""
    contents = Measured(
        experiment=identity(experiment),
        unspool=version(),
        environment=environment(),
        label=label,
        values={seed: numbers.tolist() for seed, numbers in values.items()},
    )
    file = measured_file(directory, label)
    file.parent.mkdir(exist_ok=True)
    write_record(file, contents)


def identity(experiment: AbstractExperiment) -> Setting:
    """The settings that runs in one directory must share."""
    return Setting(experiment.name, plain(experiment.options))


def check_directory(experiment: AbstractExperiment, directory: Path) -> None:
    """Raises `RunError` if the directory holds anything but this experiment's own files."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RunError(f"{directory} is a file: name a directory for the experiment")
    files = [*directory.glob(f"*/{CONFIG_FILE}"), *directory.glob(f"{MEASURED_FOLDER}/*.json")]
    for file in sorted(files):
        difference = _difference(read_record(file, _Owned).experiment, experiment)
        if difference:
            raise RunError(
                f"the directory {directory} holds runs of {difference}: name another directory"
            )
    described = directory / EXPERIMENT_FILE
    if described.exists():
        name = read_record(described, _Owned).name
        if name != experiment.name:
            raise RunError(
                f"the directory {directory} holds the experiment {name!r}, not "
                f"{experiment.name!r}: name another directory"
            )
    elif not files and (unknown := sorted(path.name for path in directory.iterdir())):
        raise RunError(
            f"the directory {directory} holds {unknown[0]}, which is no run of an experiment: "
            "name another directory, or an empty one"
        )


def open_run(
    experiment: AbstractExperiment,
    entry: AbstractEntry,
    seed: int,
    params: Params,
    directory: Path,
) -> Run:
    """The run of an entry with a seed: the one that is there, or a new one.

    **Raises:** `RunError` if the one that is there has other settings.
    """
    path = run_directory(directory, entry.label, seed)
    config = _config(experiment, entry, seed, params)
    if not (path / CONFIG_FILE).exists():
        return Run.create(path, config)
    run = Run.open(path)
    for name, value in config.items():
        if name not in _MAY_DIFFER and run.config.get(name) != value:
            raise RunError(
                f"the run in {path} has another {name}, {json.dumps(run.config.get(name))} "
                f"instead of {json.dumps(value)}: name another directory"
            )
    return run


def _config(
    experiment: AbstractExperiment, entry: AbstractEntry, seed: int, params: Params
) -> dict[str, Any]:
    settings = entry.settings()
    config = Config(
        format=FORMAT,
        experiment=identity(experiment),
        unspool=version(),
        problem=Setting(**describe(entry.problem)),
        estimator=EstimatorSetting(**settings["estimator"]),
        optimizer=Setting(**settings["optimizer"]),
        label=entry.label,
        seed=seed,
        num_updates=settings["num_updates"],
        num_params=int(np.size(ravel_pytree(params)[0])),
        parameter_names=experiment.parameter_names,
        environment=settings["environment"],
        references=experiment.references,
    )
    return plain(config)


def _difference(found: Setting | None, experiment: AbstractExperiment) -> str:
    """Description of the experiment of a run if it is another one; empty if it is this one."""
    wanted = identity(experiment)
    if found == wanted:
        return ""
    if found is None:
        return "no experiment"
    if found.name != experiment.name:
        return f"the experiment {found.name!r}, not {experiment.name!r}"
    there, options = found.options, wanted.options
    differing = [
        f"{name} {json.dumps(there.get(name))} instead of {json.dumps(options.get(name))}"
        for name in dict.fromkeys([*options, *there])
        if there.get(name) != options.get(name)
    ]
    return f"{experiment.name!r} with {', '.join(differing)}"


class _Owned(msgspec.Struct):
    """The part of any file of an experiment that says whose it is."""

    experiment: Setting | None = None
    name: str | None = None
