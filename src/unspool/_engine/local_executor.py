"""Rows that are run in this process."""

import threading
from collections.abc import Iterable

from .._black_box import AbstractBlackBox, AbstractHostProblem, AbstractSimulatorProblem
from .executor import AbstractExecutor, Outcome, Segment
from .host_rows import advance_states
from .simulators import Simulators


class LocalExecutor(AbstractExecutor):
    """Runs a problem's rows in this process."""

    def __init__(self, problem: AbstractBlackBox):
        super().__init__(problem)
        self._simulators = Simulators(self.failures)
        self._lock = threading.Lock()

    def advance(self, segment: Segment) -> Outcome:
        with self._lock:
            if isinstance(self.problem, AbstractHostProblem):
                return advance_states(self.problem, self.failures, segment)
            assert isinstance(self.problem, AbstractSimulatorProblem)
            return self._simulators.advance(self.problem, segment)

    def forget(self, seeds: Iterable[int]) -> None:
        """Throws away the simulators of episodes, known by their seeds, that are given up."""
        with self._lock:
            self._simulators.forget(seeds)
