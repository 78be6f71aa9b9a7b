"""Rows that are run in this process."""

import threading
from collections.abc import Iterable

from .._black_box import AbstractBlackBox, AbstractHostProblem, AbstractSimulatorProblem
from .host_rows import advance_states
from .simulators import Simulators
from .stage import AbstractStage, Outcome, Stretch


class LocalStage(AbstractStage):
    """Runs a problem's rows in this process."""

    def __init__(self, problem: AbstractBlackBox):
        super().__init__(problem)
        self._simulators = Simulators(self.failures)
        self._lock = threading.Lock()

    def advance(self, stretch: Stretch) -> Outcome:
        with self._lock:
            if isinstance(self.problem, AbstractHostProblem):
                return advance_states(self.problem, self.failures, stretch)
            assert isinstance(self.problem, AbstractSimulatorProblem)
            return self._simulators.advance(self.problem, stretch)

    def forget(self, seeds: Iterable[int]) -> None:
        """Throws away the simulators of episodes, known by their seeds, that are given up."""
        with self._lock:
            self._simulators.forget(seeds)
