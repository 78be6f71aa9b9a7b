"""Which directory an experiment may use, and what its runs' `config.json` say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from jax.flatten_util import ravel_pytree

from .._citation import version
from .._custom_types import Params
from .._describe import describe, environment
from .._run import Run, RunError
from .base import AbstractExperiment, Entry

EXPERIMENT_FILE = "experiment.json"
_MAY_DIFFER = ("unspool", "environment")


def run_directory(directory: Path, label: str, seed: int) -> Path:
    """Where the run of a label with a seed is kept."""
    return directory / f"{label.replace(' ', '-')}-{seed}"


def identity(experiment: AbstractExperiment) -> dict[str, Any]:
    """What runs must agree in to share a directory: all settings but the number of seeds."""
    fields = dataclasses.asdict(experiment)  # pyright: ignore[reportArgumentType]
    fields.pop("seeds", None)
    return json.loads(json.dumps({"name": experiment.name, "options": fields}))


def check_directory(experiment: AbstractExperiment, directory: Path) -> None:
    """Raises `RunError` if the directory holds anything but this experiment's own files."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RunError(f"{directory} is a file: name a directory for the experiment")
    runs = sorted(path.parent for path in directory.glob("*/config.json"))
    for path in runs:
        difference = _difference(_read(path / "config.json").get("experiment"), experiment)
        if difference:
            raise RunError(
                f"the directory {directory} holds runs of {difference}: name another directory"
            )
    described = directory / EXPERIMENT_FILE
    if described.exists():
        name = _read(described).get("name")
        if name != experiment.name:
            raise RunError(
                f"the directory {directory} holds the experiment {name!r}, not "
                f"{experiment.name!r}: name another directory"
            )
    elif not runs and (strangers := sorted(path.name for path in directory.iterdir())):
        raise RunError(
            f"the directory {directory} holds {strangers[0]}, which is no run of an experiment: "
            "name another directory, or an empty one"
        )


def open_run(
    experiment: AbstractExperiment, entry: Entry, seed: int, params: Params, directory: Path
) -> Run:
    """The run of an entry with a seed: the one that is there, or a new one.

    **Raises:** `RunError` if the one that is there has other settings.
    """
    path = run_directory(directory, entry.label, seed)
    config = _config(experiment, entry, seed, params)
    if not (path / "config.json").exists():
        return Run.create(path, config)
    run = Run.open(path)
    for name, value in json.loads(json.dumps(config)).items():
        if name not in _MAY_DIFFER and run.config.get(name) != value:
            raise RunError(
                f"the run in {path} has another {name}, {json.dumps(run.config.get(name))} "
                f"instead of {json.dumps(value)}: name another directory"
            )
    return run


def _config(
    experiment: AbstractExperiment, entry: Entry, seed: int, params: Params
) -> dict[str, Any]:
    estimator = describe(entry.estimator) | {"estimand": entry.estimator.estimand}
    optimizer = {"name": entry.optimizer.name, "options": entry.optimizer.options}
    return {
        "experiment": identity(experiment),
        "unspool": version(),
        "problem": describe(entry.problem),
        "estimator": estimator,
        "optimizer": optimizer,
        "label": entry.label,
        "seed": seed,
        "num_updates": entry.num_updates,
        "num_params": int(np.size(ravel_pytree(params)[0])),
        "parameter_names": list(experiment.parameter_names),
        "environment": environment(),
    }


def _difference(found: Any, experiment: AbstractExperiment) -> str:
    """What a run is of, if it is not of this experiment; empty if it is."""
    wanted = identity(experiment)
    if found == wanted:
        return ""
    if not isinstance(found, dict) or found.get("name") != experiment.name:
        name = found.get("name") if isinstance(found, dict) else None
        return f"the experiment {name!r}, not {experiment.name!r}" if name else "no experiment"
    there, options = found.get("options", {}), wanted["options"]
    differing = [
        f"{name} {json.dumps(there.get(name))} instead of {json.dumps(options.get(name))}"
        for name in dict.fromkeys([*options, *there])
        if there.get(name) != options.get(name)
    ]
    return f"{experiment.name!r} with {', '.join(differing)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    return found if isinstance(found, dict) else {}
