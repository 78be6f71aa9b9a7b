"""MLflow."""

import importlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._config.extras import needing
from .._logger import AbstractLogger
from .._updates import Record
from ..records import EvaluationLine, Status
from .memory import Memory
from .values import evaluation_values, hyperparameters, record_values

_MOST_PARAMS, _LONGEST_VALUE = 100, 6000
"""Limits of MLflow: parameters at once, and letters of each."""

_STATES = {"finished": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}


@dataclass(eq=False)
class MLflow(AbstractLogger):
    """A run of MLflow, with the settings as its parameters and updates as steps.

    A run that goes on is the same one there: `mlflow.json` in its directory keeps its id. Nothing
    can be taken back there: steps that come again after a checkpoint are not logged a second time.

    **Arguments:**

    - `experiment`: by default that of `MLFLOW_EXPERIMENT_NAME`, or `Default`.
    - `tracking_uri`: by default as `mlflow` has it: `MLFLOW_TRACKING_URI`, or a database
      `mlflow.db` in the current directory.

    **Raises:** `ConfigError` without the extra `log`.
    """

    experiment: str | None = None
    tracking_uri: str | None = None
    _client: Any = field(default=None, init=False, repr=False)
    _id: str = field(default="", init=False, repr=False)
    _logged: dict[str, set[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        with needing("logging to MLflow"):
            importlib.import_module("mlflow")

    def start(
        self,
        config: Mapping[str, Any],
        directory: Path | None = None,
        update: int | None = None,
    ) -> None:
        from mlflow import MlflowClient

        self._client, self._logged = MlflowClient(self.tracking_uri), {}
        memory = Memory(directory, "mlflow.json")
        known = memory.get("run_id")
        if known is None:
            self._id = self._create(None if directory is None else directory.resolve().name)
            memory.set("run_id", self._id)
            self._log_params(hyperparameters(config))
        else:
            self._id = known
            self._client.update_run(self._id, status="RUNNING")
            self._logged = {name: self._steps(name) for name in self._known_metrics()}

    def log_record(self, record: Record) -> None:
        self._log(record_values(record), record.update)

    def log_evaluation(self, line: EvaluationLine) -> None:
        self._log(evaluation_values(line), line.update)

    def finish(self, status: Status) -> None:
        self._client.set_tag(self._id, "status", status.state)
        self._client.set_tag(self._id, "message", status.message)
        self._client.set_terminated(self._id, _STATES.get(status.state, "KILLED"))

    def _create(self, name: str | None) -> str:
        """Makes a run, and returns its id."""
        client = self._client
        wanted = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = client.get_experiment_by_name(wanted)
        experiment = client.create_experiment(wanted) if found is None else found.experiment_id
        return client.create_run(experiment, run_name=name).info.run_id

    def _log_params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:_LONGEST_VALUE]) for name, value in values.items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])

    def _log(self, values: Mapping[str, float], update: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(name, value, now, update)
            for name, value in values.items()
            if update not in self._logged.get(name, ())
        ]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)

    def _known_metrics(self) -> list[str]:
        return list(self._client.get_run(self._id).data.metrics)

    def _steps(self, name: str) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(self._id, name)}
