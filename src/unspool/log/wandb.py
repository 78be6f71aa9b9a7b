"""Weights & Biases."""

import importlib
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


@dataclass(eq=False)
class WandB(AbstractLogger):
    """A run of Weights & Biases, with the settings as its config and `update` as the axis.

    Where it goes, and whether at once, is as `wandb` has it: log in by `wandb login`, or set
    `WANDB_MODE=offline` and sync later. A run that goes on has the same id, which `wandb.json` in
    its directory keeps. Nothing can be taken back there: updates that come again after a
    checkpoint are not logged a second time.

    **Arguments:**

    - `project`, `entity`, `group`: as of `wandb.init`. The name is that of the run's directory.

    **Raises:** `ConfigError` without the extra `log`.
    """

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    _run: Any = field(default=None, init=False, repr=False)
    _memory: Memory = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with needing("logging to Weights & Biases"):
            importlib.import_module("wandb")

    def start(
        self,
        config: Mapping[str, Any],
        directory: Path | None = None,
        update: int | None = None,
    ) -> None:
        import wandb

        self._memory = Memory(directory, "wandb.json")
        self._run = wandb.init(
            project=self.project, entity=self.entity, group=self.group,
            name=None if directory is None else directory.resolve().name,
            id=self._memory.get("id"), resume="allow", reinit="create_new",
        )  # fmt: skip
        self._memory.set("id", self._run.id)
        self._run.config.update(hyperparameters(config), allow_val_change=True)
        self._run.define_metric("update", hidden=True)
        self._run.define_metric("*", step_metric="update")

    def log_record(self, record: Record) -> None:
        self._log("record", record.update, record_values(record))

    def log_evaluation(self, line: EvaluationLine) -> None:
        self._log("evaluation", line.update, evaluation_values(line))

    def finish(self, status: Status) -> None:
        self._run.summary["status"] = status.state
        self._run.summary["message"] = status.message
        self._run.finish(exit_code=int(status.state in ("diverged", "failed")))

    def _log(self, kind: str, update: int, values: Mapping[str, float]) -> None:
        """Logs values, unless those of this kind have come as far before."""
        last = self._memory.get(kind)
        if last is None or update > last:
            self._run.log({"update": update, **values})
            self._memory.set(kind, update)
