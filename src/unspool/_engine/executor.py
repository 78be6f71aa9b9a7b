"""The interface to where rows of simulators are run: in this process, or on a cluster."""

import abc

import numpy as np

from .._black_box import AbstractBlackBox
from .failures import Failures
from .runner import AbstractRunner
from .segment import Outcome, Segment


class AbstractExecutor(abc.ABC):
    """Runs a problem's rows; there is one for as long as its engine lives."""

    def __init__(self, runner: AbstractRunner):
        self.runner = runner
        self._stopped: BaseException | None = None

    @property
    def problem(self) -> AbstractBlackBox:
        return self.runner.problem

    @property
    def failures(self) -> Failures:
        return self.runner.failures

    def run(self, segment: Segment) -> Outcome:
        """Advances the rows within a program of XLA, which would wrap an exception in its own.

        All rows are then lost, now and from now on, until `throw` has raised it.
        """
        if self._stopped is None:
            try:
                return self.advance(segment)
            except BaseException as error:
                self._stopped = error
        outcome = Outcome.begin(segment)
        outcome.losses[~segment.done] = np.nan
        return outcome

    def throw(self) -> None:
        """Raises what has stopped `run`, if anything has."""
        error, self._stopped = self._stopped, None
        if error is not None:
            raise error

    @abc.abstractmethod
    def advance(self, segment: Segment) -> Outcome:
        """The rows after as many steps as there are seeds.

        **Raises:** `MisuseError` for a method that returns what it may not.
        """
