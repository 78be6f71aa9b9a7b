"""Rows whose states travel, as tasks of Ray's, which any process can run."""

import functools as ft
import time
from typing import Any

import numpy as np
import ray

from ..runner import AbstractRunner
from ..segment import Segment
from .executor import AbstractRayExecutor, Call, Round
from .processes import MOST_TRIES, num_wanted, remote_options, stuck_after, wait_for_first
from .remote_runner import Answer, RemoteRunner


class TaskExecutor(AbstractRayExecutor):
    """Divides rows evenly among tasks. Where a process dies, Ray runs its task again elsewhere."""

    def __init__(self, runner: AbstractRunner, num_actors: int | None, timeout: float):
        super().__init__(runner, num_actors, timeout)
        self._remote: Any = None
        self._late: dict[Any, float] = {}

    def _begin(self, spec: list[Any]) -> None:
        make = ray.remote(**remote_options(), max_retries=MOST_TRIES - 1)
        self._remote = ft.partial(make(run_rows).remote, spec)
        wait_for_first([make(ping).remote(spec) for _ in range(num_wanted(self.num_actors))])

    def _stop(self) -> None:
        # Processes are Ray's, which keeps as many as there are CPUs for the tasks to come.
        for ref in self._late:
            _cancel(ref)
        self._late.clear()

    def _run(self, this: Round) -> None:
        rows = np.flatnonzero(this.waiting)
        most = max(1, num_wanted(self.num_actors) - self._num_late())
        # All arms of a worker go together.
        workers, worker = np.unique(this.segment.worker[rows], return_inverse=True)
        part = worker * most // workers.size
        for i in np.unique(part):
            self._submit(this, rows[part == i])
        # States are still at hand, so that others can be asked too before it is too late.
        self._collect(this, this.end - self.timeout / 2)
        late = list(this.calls.values())
        for call in late[: max(0, most - len(late))]:
            self._submit(this, call.rows)
        self._collect(this, this.end)

    def _submit(self, this: Round, rows: np.ndarray) -> None:
        seeds = this.segment.step_seeds[rows]
        self._send(this, Call(rows), self._remote, step_seeds=seeds, arm=None, worker=None)

    def _recover(self, this: Round, call: Call, why: str) -> None:
        if not any(other.rows is call.rows for other in this.calls.values()):
            self._lose(this, call.rows, f"{MOST_TRIES} processes have died of them: {why}")

    def _leave(self, this: Round) -> None:
        self._late |= dict.fromkeys(this.calls, this.end - self.timeout)

    def _num_late(self) -> int:
        """Number of tasks that go on without being waited for. After too long they are ended."""
        limit = stuck_after(self.timeout)
        for ref, since in list(self._late.items()):
            if time.monotonic() > since + limit:
                _cancel(ref)
                self._replaced(f"a process has been given up: it had not answered for {limit:g} s")
            elif not ray.wait([ref], timeout=0)[0]:
                continue
            del self._late[ref]
        return len(self._late)


def ping(spec: list[Any]) -> str:
    """The name of the process, once it is ready for rows."""
    return _runner(spec[0])[1]


def run_rows(spec: list[Any], rows: Segment) -> Answer | None:
    """The answer for some rows, in a process of the cluster."""
    # Not in Ray's documentation: how many times it has tried before.
    deaths = ray.get_runtime_context().worker.core_worker.get_current_task_attempt_number()
    return _runner(spec[0])[0].run(rows, deaths=deaths)


# Several engines may share a process.
@ft.lru_cache(maxsize=8)
def _runner(spec: Any) -> tuple[RemoteRunner, str]:
    """A runner for the rows of a problem, made once, and the name of this process."""
    runner = RemoteRunner()
    return runner, runner.ping([spec])


def _cancel(task: Any) -> None:
    """Ends a task, and the process that it is in."""
    if ray.is_initialized():
        ray.cancel(task, force=True)
