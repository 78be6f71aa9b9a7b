"""A run as it was logged, in columns."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .config import CONFIG_FORMAT, Config
from .evaluation import EvaluationLine
from .files import RunError, read_lines, read_record
from .metrics import MetricsLine
from .status import Status

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
EVALUATION_FILE = "evaluation.jsonl"
STATUS_FILE = "status.json"

L = TypeVar("L", bound=MetricsLine | EvaluationLine)


@dataclass(frozen=True, eq=False)
class LoggedMetrics:
    """The lines of `metrics.jsonl`, one entry each; values that were null are NaN.

    `steps` leaves out the steps of the warm-up, which `warmup_steps` counts;
    `sequential_steps` has them in. `params` has a row for each line, unless one has none.
    """

    update: np.ndarray
    seconds: np.ndarray
    steps: np.ndarray
    warmup_steps: np.ndarray
    sequential_steps: np.ndarray
    loss: np.ndarray
    dropped: np.ndarray
    signal_to_noise: np.ndarray
    lag: np.ndarray
    sigma: np.ndarray
    params: np.ndarray | None


@dataclass(frozen=True, eq=False)
class LoggedEvaluations:
    """The lines of `evaluation.jsonl`, one entry each; values that were null are NaN."""

    update: np.ndarray
    loss: np.ndarray
    standard_error: np.ndarray


@dataclass(frozen=True, eq=False)
class LoggedRun:
    """A run: its settings, its records and how it ended."""

    path: Path
    config: Config
    metrics: LoggedMetrics
    evaluation: LoggedEvaluations | None
    status: Status

    def __repr__(self) -> str:
        config, made = self.config, self.metrics.update[-1]
        what = f"{config.estimator.name} on {config.problem.name}, seed {config.seed}"
        return f"<LoggedRun {self.path}: {what}, {self.status.state}, {made:.0f} updates>"

    @property
    def num_updates(self) -> int:
        """The updates that were made if the run is finished, else those that it is to make."""
        is_finished = self.status.state == "finished"
        return int(self.metrics.update[-1]) if is_finished else self.config.num_updates


def read_run(directory: Path | str) -> LoggedRun:
    """Reads the run in a directory.

    **Raises:** `RunError` for anything missing or malformed.

    **Example**, after that of `unspool.experiments.reproduce`:

    >>> from unspool.records import read_run
    >>> read_run("runs/small/BPTT-101").metrics.update.tolist()
    [0.0, 1.0, 2.0]
    """
    path = Path(directory)
    config = read_record(path / CONFIG_FILE, Config, CONFIG_FORMAT)
    metrics = _read_metrics(path / METRICS_FILE, config.num_params)
    evaluation = path / EVALUATION_FILE
    return LoggedRun(
        path=path,
        config=config,
        metrics=metrics,
        evaluation=_read_evaluations(evaluation, metrics) if evaluation.exists() else None,
        status=read_status(path),
    )


def read_status(directory: Path) -> Status:
    """The status of the run in a directory; one that has not begun is called `running`."""
    path = directory / STATUS_FILE
    return read_record(path, Status) if path.exists() else Status("running")


def _latest(lines: Iterable[L]) -> list[L]:
    """The lines by increasing update; a resumed run repeats some, and the later ones count."""
    kept: list[L] = []
    for line in lines:
        while kept and kept[-1].update >= line.update:
            kept.pop()
        kept.append(line)
    return kept


def _column(lines: Sequence[MetricsLine | EvaluationLine], name: str) -> np.ndarray:
    return np.array([getattr(line, name) for line in lines], dtype=float)


def _read_metrics(path: Path, num_params: int) -> LoggedMetrics:
    lines = _latest(read_lines(path, MetricsLine))
    if not lines:
        raise RunError(f"{path} is empty; it must hold at least the record of update 0.")
    params = [line.params for line in lines if line.params is not None]
    for line in lines:
        if line.params is not None and len(line.params) != num_params:
            raise RunError(
                f"{path}: 'params' of update {line.update} is a list of {len(line.params)}, but "
                f"must be a list of {num_params} numbers, as 'num_params' says."
            )
    names = (field.name for field in dataclasses.fields(LoggedMetrics) if field.name != "params")
    return LoggedMetrics(
        **{name: _column(lines, name) for name in names},
        params=np.array(params, dtype=float) if len(params) == len(lines) else None,
    )


def _read_evaluations(path: Path, metrics: LoggedMetrics) -> LoggedEvaluations | None:
    """The evaluations at updates that the records cover, since only those have a cost."""
    lines = _latest(read_lines(path, EvaluationLine))
    lines = [line for line in lines if line.update <= metrics.update[-1]]
    names = ("update", "loss", "standard_error")
    return LoggedEvaluations(**{name: _column(lines, name) for name in names}) if lines else None
