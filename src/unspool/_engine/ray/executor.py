"""Rows on the processes of a cluster: sent, taken back, lost."""

import abc
import dataclasses
import threading
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from ..._params import split
from ..executor import AbstractExecutor
from ..returned import MisuseError
from ..runner import AbstractRunner
from ..segment import Outcome, Segment
from .remote_runner import Answer
from .spec import make_spec


class Traffic(NamedTuple):
    """Counts of what has gone to the processes and come back.

    - `segments`: runs of all rows from one look at them to the next.
    - `bytes_out`, `bytes_in`: sizes of the arrays: parameters, states, clocks and seeds on their
      way out, states and losses on their way back. What Ray wraps them in is not counted.
    - `lost_rows`: rows that failed because their process died, or did not answer in time.
    - `restarts`: processes that took the place of those that died or were stuck.
    """

    segments: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    lost_rows: int = 0
    restarts: int = 0


class Call(NamedTuple):
    """Rows that are out: on which actor, if on one, and how many have been at them."""

    rows: np.ndarray
    actor: Any = None
    tries: int = 1


@dataclasses.dataclass(eq=False)
class Round:
    """A segment under way: what has come of it, and until when it may last.

    - `waiting`: rows that are still out.
    - `calls`: for whose answers they wait, by reference.
    - `processes`: those that have answered.
    """

    segment: Segment
    outcome: Outcome
    waiting: np.ndarray
    end: float
    calls: dict[Any, Call] = dataclasses.field(default_factory=dict)
    processes: set[str] = dataclasses.field(default_factory=set)


class AbstractRayExecutor(AbstractExecutor):
    """Runs a problem's rows on a cluster. Processes are started with the first rows of all.

    `processes` are those that have run rows in the last segment; `traffic` is that of all.

    **Arguments:** `runner`, which says what to run; the others as for `RayEngine`.
    """

    def __init__(self, runner: AbstractRunner, num_actors: int | None, timeout: float):
        super().__init__(runner)
        self.num_actors = num_actors
        self.timeout = timeout
        self.traffic = Traffic()
        self.processes: set[str] = set()
        self._others: Any = None
        self._lock = threading.Lock()

    def advance(self, segment: Segment) -> Outcome:
        with self._lock:
            outcome = Outcome.begin(segment)
            if np.all(segment.done):
                return outcome
            others = split(segment.params)[1].static
            if others != self._others:
                # Processes have these leaves from when they were started.
                self._stop()
                self._begin(make_spec(self.problem, segment.params, segment.state))
                self._others = others
            this = Round(segment, outcome, ~segment.done, time.monotonic() + self.timeout)
            try:
                self._run(this)
                for call in this.calls.values():
                    who = call.actor or "a process"
                    self._lose(this, call.rows, f"{who} has not answered within {self.timeout:g} s")
            finally:
                self.processes = this.processes
                self._leave(this)
            self._count(segments=1)
            return outcome

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            self._others = None
            self._stop()

    @abc.abstractmethod
    def _begin(self, spec: list[Any]) -> None:
        """Starts processes, and waits for the first of them."""

    @abc.abstractmethod
    def _stop(self) -> None:
        """Ends processes, if there are any."""

    @abc.abstractmethod
    def _run(self, this: Round) -> None:
        """Sends all rows, and collects the answers that come until the end of the round."""

    @abc.abstractmethod
    def _recover(self, this: Round, call: Call, why: str) -> None:
        """Has others run the rows of a process that has died, as far as they can."""

    @abc.abstractmethod
    def _leave(self, this: Round) -> None:
        """Sees to the calls that are without an answer at the end of a round."""

    def _send(self, this: Round, call: Call, remote: Any, *more: Any, **fields: Any) -> None:
        """Gives the rows of a call to a function of Ray's.

        `fields` are those of a `Segment` that differ from the rows' own, of which a process needs
        but some.
        """
        whole, rows = this.segment, call.rows
        trees = (jax.tree.leaves(tree) for tree in (whole.params, whole.state))
        params, state = ([x[rows] for x in tree if isinstance(x, np.ndarray)] for tree in trees)
        clock = whole.t[rows], whole.start_seeds[rows]
        make: Any = Segment
        part = make(params, state, None, *clock, **fields)
        self._count(bytes_out=_num_bytes((part, more)))
        this.calls[remote(part, *more)] = call

    def _collect(self, this: Round, until: float) -> None:
        """Takes answers until all rows have one, or time is up."""
        while np.any(this.waiting) and (left := until - time.monotonic()) > 0:
            come, _ = ray.wait(list(this.calls), num_returns=1, timeout=left)
            for ref in come:
                self._receive(this, this.calls.pop(ref), ref)

    def _receive(self, this: Round, call: Call, ref: Any) -> None:
        """Puts an answer where it belongs. Of two for the same rows the first one counts."""
        try:
            answer: Answer | None = ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, MisuseError):
                raise error.cause from None
            raise
        except RayError as error:
            return self._recover(this, call, str(error))
        if answer is None:
            return self._recover(this, call, "it had died before")
        this.processes.add(answer.process)
        self._count(bytes_in=_num_bytes(answer.outcome))
        self.failures.extend(answer.num_failures, answer.failures)
        for _ in range(answer.deaths):
            self._replaced("a process has been given up: it died, and its rows were run again")
        new = this.waiting[call.rows]
        pairs = zip(*map(jax.tree.leaves, (this.outcome, answer.outcome)), strict=True)
        for array, found in pairs:
            array[call.rows[new]] = found[new]
        this.waiting[call.rows] = False

    def _lose(self, this: Round, rows: np.ndarray, why: str) -> None:
        """Has those of some rows fail that nobody has answered."""
        rows = rows[this.waiting[rows]]
        if rows.size:
            this.outcome.losses[rows] = np.nan
            this.waiting[rows] = False
            self._count(lost_rows=rows.size)
            text = f"{rows.size} rows of {this.waiting.size} were lost: {why}"
            self.failures.extend(rows.size, [text])

    def _replaced(self, why: str) -> None:
        """Counts a process that another took the place of, and says what became of it."""
        self._count(restarts=1)
        self.failures.extend(0, [why])

    def _count(self, **more: int) -> None:
        total = {name: getattr(self.traffic, name) + count for name, count in more.items()}
        self.traffic = self.traffic._replace(**total)


def _num_bytes(message: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(message))
