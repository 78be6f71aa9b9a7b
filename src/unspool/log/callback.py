"""Functions of the user's as a logger."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._logger import AbstractLogger
from .._updates import Record
from ..records import EvaluationLine, Status


@dataclass(frozen=True)
class Callback(AbstractLogger):
    """Functions that are called with every record and every evaluation.

    On the command line a function of yours is one by itself: `--log mine.py:show`.

    **Arguments:**

    - `on_record`: takes an `unspool.Record`, with the parameters in it.
    - `on_evaluation`: takes an `unspool.records.EvaluationLine`.

    **Example:**

    >>> import unspool.log
    >>> losses = []
    >>> logger = unspool.log.Callback(lambda record: losses.append(record.loss))
    >>> job = unspool.problems.InfluenceBalancing(), unspool.BPTT(), optax.sgd(0.01)
    >>> run = unspool.Run.create("runs/called", {})
    >>> with run.logging_to(logger):
    ...     for record in run.train(*job, num_updates=2, key=jax.random.key(0)):
    ...         pass
    >>> losses == [line.loss for line in run.read_metrics()[1:]]
    True
    """

    on_record: Callable[[Record], Any]
    on_evaluation: Callable[[EvaluationLine], Any] | None = None

    def start(
        self,
        config: Mapping[str, Any],
        directory: Path | None = None,
        update: int | None = None,
    ) -> None:
        pass

    def log_record(self, record: Record) -> None:
        self.on_record(record)

    def log_evaluation(self, line: EvaluationLine) -> None:
        if self.on_evaluation is not None:
            self.on_evaluation(line)

    def finish(self, status: Status) -> None:
        pass
