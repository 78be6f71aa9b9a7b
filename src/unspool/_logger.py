"""The interface of loggers, and the loggers of one run, of which none can end a training."""

import abc
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._updates import Record
from .records import EvaluationLine, Status


class AbstractLogger(abc.ABC):
    """A place outside of a run's directory that its records and evaluations go to as well.

    One logger may log several runs, one after the other. Errors that it raises while a run is
    trained end no training: there is a warning, and the run goes on without the logger.

    **Example:**

    >>> import unspool.log
    >>> class Printed(unspool.log.AbstractLogger):
    ...     def start(self, config, directory=None, update=None):
    ...         print("start", config)
    ...
    ...     def log_record(self, record):
    ...         print("record", record.update)
    ...
    ...     def log_evaluation(self, line):
    ...         print("evaluation", line.update)
    ...
    ...     def finish(self, status):
    ...         print(status.state)
    >>> run = unspool.Run.create("runs/printed", {"label": "BPTT"})
    >>> job = unspool.problems.InfluenceBalancing(), unspool.BPTT(), optax.sgd(0.01)
    >>> with run.logging_to(Printed()):
    ...     for record in run.train(*job, num_updates=2, key=jax.random.key(0)):
    ...         pass
    start {'format': 1, 'label': 'BPTT'}
    record 1
    record 2
    finished
    """

    @abc.abstractmethod
    def start(
        self,
        config: Mapping[str, Any],
        directory: Path | None = None,
        update: int | None = None,
    ) -> None:
        """Begins to log a run, or goes on with one.

        **Arguments:**

        - `config`: the settings, as in `config.json`.
        - `directory`: that of the run, if it has one.
        - `update`: the update that the run goes on from; `None` for a new one. What was logged
          after it comes again, to the same bits unless simulators keep their states.
        """

    @abc.abstractmethod
    def log_record(self, record: Record) -> None:
        """Logs what `train` yields."""

    @abc.abstractmethod
    def log_evaluation(self, line: EvaluationLine) -> None:
        """Logs an evaluation, which may be of an earlier update than the last record."""

    @abc.abstractmethod
    def finish(self, status: Status) -> None:
        """Ends logging. The status is `running` if the caller has left the training."""


class Loggers:
    """The loggers of one run, which start with the first record or evaluation.

    One that fails is left out from then on, with a warning.
    """

    def __init__(self, loggers: Sequence[AbstractLogger], config: Mapping[str, Any], place: Path):
        self._working = list(loggers)
        self._config, self._place = config, place
        self._has_started = False

    def start(self, update: int | None) -> None:
        """Starts, unless that was done before."""
        if not self._has_started:
            self._has_started = True
            self._tell(lambda logger: logger.start(self._config, self._place, update))

    def log_record(self, record: Record) -> None:
        self._tell(lambda logger: logger.log_record(record))

    def log_evaluation(self, line: EvaluationLine) -> None:
        self._tell(lambda logger: logger.log_evaluation(line))

    def finish(self, status: Status) -> None:
        if self._has_started:
            self._tell(lambda logger: logger.finish(status))

    def _tell(self, call: Callable[[AbstractLogger], None]) -> None:
        for logger in list(self._working):
            try:
                call(logger)
            except Exception as error:
                self._working.remove(logger)
                warnings.warn(
                    f"{type(logger).__name__} cannot log the run in {self._place} any longer, "
                    f"which goes on without it and has everything in its own files: "
                    f"{type(error).__name__}: {error}",
                    stacklevel=2,
                )
