"""Directories of runs, read into dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .experiment import EXPERIMENT_FILE, Experiment, read_experiment
from .schema import JsonObject, ReportError, read_lines, read_object

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
EVALUATION_FILE = "evaluation.jsonl"
STATUS_FILE = "status.json"


@dataclass(frozen=True)
class Setting:
    """A problem, an estimator or an optimizer: its name and its options."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Records:
    """The records of training, one entry each; values that were null are NaN.

    `steps` leaves out the steps of the warm-up, which `warmup_steps` counts;
    `sequential_steps` has them in.
    """

    update: np.ndarray
    seconds: np.ndarray
    steps: np.ndarray
    warmup_steps: np.ndarray
    sequential_steps: np.ndarray
    loss: np.ndarray
    dropped: np.ndarray
    params: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss of the unperturbed parameters, one entry per evaluation."""

    update: np.ndarray
    loss: np.ndarray
    standard_error: np.ndarray


@dataclass(frozen=True)
class Status:
    """The end of a run: `state` is `finished`, `stopped`, `failed`, or `unfinished` if it was
    killed or still runs."""

    state: str
    message: str


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: its settings, its records and how it ended."""

    path: Path
    label: str
    seed: int
    problem: Setting
    estimator: Setting
    estimand: str
    optimizer: Setting
    num_updates: int
    num_params: int
    parameter_names: tuple[str, ...] | None
    environment: dict[str, Any]
    records: Records
    evaluation: Evaluation | None
    status: Status


@dataclass(frozen=True, eq=False)
class Study:
    """The runs that are shown together, with the experiment they belong to, if any.

    An experiment whose charts are all there is to see has no runs.
    """

    runs: tuple[Run, ...]
    experiment: Experiment | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the runs, each once, in order of appearance."""
        return tuple(dict.fromkeys(run.label for run in self.runs))


def read_studies(directories: Sequence[Path]) -> list[Study]:
    """Reads run and experiment directories.

    Each directory with an `experiment.json` is a study of its own; all other runs together are
    one more. Raises `ReportError` for anything missing or malformed.
    """
    if not directories:
        raise ReportError("No directory was given; give at least one run or experiment directory.")
    studies, loose = [], []
    for directory in dict.fromkeys(Path(entry) for entry in directories):
        if not directory.is_dir():
            raise ReportError(f"{directory} is not a directory; give a run or an experiment.")
        if (directory / CONFIG_FILE).exists():
            loose.append(read_run(directory))
            continue
        described = (directory / EXPERIMENT_FILE).exists()
        experiment = read_experiment(directory) if described else None
        has_charts = experiment is not None and len(experiment.charts) > 0
        found = _runs_in(directory) if has_charts else _run_directories(directory)
        runs = tuple(read_run(path) for path in found)
        if experiment:
            studies.append(Study(runs, experiment))
        else:
            loose.extend(runs)
    return studies + ([Study(tuple(loose), None)] if loose else [])


def _runs_in(directory: Path) -> list[Path]:
    return sorted(file.parent for file in directory.glob(f"*/{CONFIG_FILE}"))


def _run_directories(directory: Path) -> list[Path]:
    """The runs in a directory; raises `ReportError` if there are none."""
    if runs := _runs_in(directory):
        return runs
    children = sorted(path for path in directory.iterdir() if path.is_dir())
    experiments = [path.name for path in children if (path / EXPERIMENT_FILE).exists()]
    if experiments:
        raise ReportError(
            f"{directory} holds experiments, not runs; give one or more of "
            f"{', '.join(experiments)} in it."
        )
    raise ReportError(
        f"{directory} holds no run: neither it nor a directory in it has a {CONFIG_FILE}."
    )


def read_run(directory: Path) -> Run:
    """Reads one run directory; raises `ReportError` for anything missing or malformed."""
    config = read_object(directory / CONFIG_FILE)
    config.check_format(1, 2)
    estimator = config.object("estimator")
    num_params = config.integer("num_params")
    records = _read_records(directory / METRICS_FILE, num_params)
    evaluation = directory / EVALUATION_FILE
    return Run(
        path=directory,
        label=config.text("label"),
        seed=config.integer("seed"),
        problem=_read_setting(config.object("problem")),
        estimator=_read_setting(estimator),
        estimand=estimator.text("estimand"),
        optimizer=_read_setting(config.object("optimizer")),
        num_updates=config.integer("num_updates"),
        num_params=num_params,
        parameter_names=config.texts("parameter_names"),
        environment=config.mapping("environment"),
        records=records,
        evaluation=_read_evaluation(evaluation, records) if evaluation.exists() else None,
        status=_read_status(directory / STATUS_FILE),
    )


def _read_setting(fields: JsonObject) -> Setting:
    return Setting(fields.text("name"), fields.mapping("options"))


def _read_status(path: Path) -> Status:
    if not path.exists():
        return Status("unfinished", "")
    fields = read_object(path)
    state = fields.choice("status", ("finished", "stopped", "failed", "running"))
    return Status(
        "unfinished" if state == "running" else state,
        fields.text("message") if fields.has("message") else "",
    )


def _latest(lines: list[JsonObject]) -> list[JsonObject]:
    """The lines by increasing update; a resumed run repeats some, and the later ones count."""
    kept: list[JsonObject] = []
    for line in lines:
        update = line.integer("update")
        while kept and kept[-1].integer("update") >= update:
            kept.pop()
        kept.append(line)
    return kept


def _read_records(path: Path, num_params: int) -> Records:
    lines = _latest(read_lines(path))
    if not lines:
        raise ReportError(f"{path} is empty; it must hold at least the record of update 0.")
    params = None
    if all(line.has("params") for line in lines):
        params = np.stack([_read_params(line, num_params) for line in lines])

    def column(name: str, default: float | None = None) -> np.ndarray:
        return np.array([line.number(name, default) for line in lines])

    return Records(
        update=column("update"),
        seconds=column("seconds"),
        steps=column("steps"),
        warmup_steps=column("warmup_steps", 0.0),
        sequential_steps=column("sequential_steps"),
        loss=np.array([line.number_or_nan("loss") for line in lines]),
        dropped=column("dropped", 0.0),
        params=params,
    )


def _read_params(line: JsonObject, num_params: int) -> np.ndarray:
    params = line.numbers("params")
    if len(params) != num_params:
        raise line.error("params", f"a list of {num_params} numbers, as 'num_params' says")
    return params


def _read_evaluation(path: Path, records: Records) -> Evaluation | None:
    """The evaluations at updates that the records cover, since only those have a cost."""
    lines = [
        line for line in _latest(read_lines(path)) if line.integer("update") <= records.update[-1]
    ]
    if not lines:
        return None
    return Evaluation(
        update=np.array([line.number("update") for line in lines]),
        loss=np.array([line.number_or_nan("loss") for line in lines]),
        standard_error=np.array([line.number_or_nan("standard_error") for line in lines]),
    )
