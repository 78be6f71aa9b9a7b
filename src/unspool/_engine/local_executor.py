"""Rows that are run in this process."""

import threading

from .executor import AbstractExecutor
from .runner import AbstractRunner
from .segment import Outcome, Segment


class LocalExecutor(AbstractExecutor):
    """Runs a problem's rows in this process, one segment at a time."""

    def __init__(self, runner: AbstractRunner):
        super().__init__(runner)
        self._lock = threading.Lock()

    def advance(self, segment: Segment) -> Outcome:
        with self._lock:
            return self.runner.advance(segment)
