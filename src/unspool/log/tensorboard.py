"""TensorBoard's event files, written by tensorboardX."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._config.extras import needing
from .._logger import AbstractLogger
from .._updates import Record
from ..records import EvaluationLine, Status
from .values import evaluation_values, hyperparameters, record_values


@dataclass(eq=False)
class TensorBoard(AbstractLogger):
    """Event files of TensorBoard, with the settings as hyperparameters.

    Steps are updates; names are those of `metrics.jsonl`, and `evaluation/loss` and the like.
    Numbers are float32 there. A run that goes on writes another file beside the first. TensorBoard
    then leaves out what the first one has after the checkpoint, which comes again.

    **Arguments:**

    - `directory`: where to write, of a run in a folder of its name; by default the directory of
      the run itself, so that `tensorboard --logdir runs` shows them all.

    **Raises:** `ConfigError` without the extra `log`.

    **Example:**

    >>> from unspool.log import TensorBoard
    >>> from unspool.records import Status
    >>> job = unspool.problems.InfluenceBalancing(), unspool.BPTT(), optax.sgd(0.01)
    >>> logger = TensorBoard("events")
    >>> logger.start({"optimizer": "sgd", "learning_rate": 0.01})
    >>> for record in unspool.train(*job, num_updates=2, key=jax.random.key(0)):
    ...     logger.log_record(record)
    >>> logger.finish(Status("finished"))
    """

    directory: str | Path | None = None
    _writer: Any = field(default=None, init=False, repr=False)
    _update: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        with needing("logging to TensorBoard"):
            importlib.import_module("tensorboardX")

    def start(
        self,
        config: Mapping[str, Any],
        directory: Path | None = None,
        update: int | None = None,
    ) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        # Events from this step on are left out by readers, if there are any yet.
        first = 0 if update is None else update + 1
        self._update = first
        self._writer = SummaryWriter(str(self._place(directory)), purge_step=first)
        curves = dict.fromkeys(("loss", "evaluation/loss"), 0.0)
        for summary in hparams(hyperparameters(config), curves):
            self._writer.file_writer.add_summary(summary, first)
        self._writer.flush()

    def log_record(self, record: Record) -> None:
        self._write(record_values(record), record.update)

    def log_evaluation(self, line: EvaluationLine) -> None:
        self._write(evaluation_values(line), line.update)

    def finish(self, status: Status) -> None:
        said = f"{status.state}: {status.message}" if status.message else status.state
        self._writer.add_text("status", said, self._update)
        self._writer.close()

    def _place(self, directory: Path | None) -> Path:
        if self.directory is None and directory is None:
            raise ValueError("directory must be given for what is no run, as TensorBoard('events')")
        if self.directory is None or directory is None:
            return Path(self.directory or directory or "")
        return Path(self.directory) / directory.resolve().name

    def _write(self, values: Mapping[str, float], update: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, update)
        self._writer.flush()
        self._update = update
