"""Rows on the actors of a cluster: divided, sent, taken back."""

import dataclasses
import threading
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from .._black_box import AbstractBlackBox, AbstractHostProblem
from .._params import split
from .executor import AbstractExecutor, Outcome, Segment
from .ray_actor import Answer, num_bytes
from .ray_crew import Crew, Member, make_blueprint
from .ray_shares import Rows, SimulatorShares, StateShares
from .returned import MisuseError

_MOST_TRIES = 3
"""How many actors may die of the same rows before these are left out."""


class Traffic(NamedTuple):
    """What has gone to the actors and come back.

    - `segments`: runs of all rows from one look at them to the next.
    - `bytes_out`, `bytes_in`: sizes of the arrays: parameters, states, clocks and seeds on their
      way out, states and losses on their way back. What Ray wraps them in is not counted.
    - `lost_rows`: rows that failed because their actor died, or did not answer in time.
    - `restarts`: actors started in place of those that died or were stuck.
    """

    segments: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    lost_rows: int = 0
    restarts: int = 0


@dataclasses.dataclass(eq=False)
class _Job:
    """Rows that an actor is at, how many have been at them, and since when."""

    member: Member
    rows: Rows
    tries: int
    since: float


@dataclasses.dataclass(eq=False)
class _Round:
    """A segment under way: what has come of it, which rows are still out, and who is at them."""

    segment: Segment
    outcome: Outcome
    waiting: np.ndarray
    jobs: dict[Any, _Job] = dataclasses.field(default_factory=dict)

    def load(self, member: Member) -> int:
        """How many rows an actor is at."""
        return sum(job.rows.size for job in self.jobs.values() if job.member is member)


class RayExecutor(AbstractExecutor):
    """Runs a problem's rows on actors, which are started when there are rows for the first time.

    **Arguments:** as for `RayEngine`.
    """

    def __init__(self, problem: AbstractBlackBox, num_actors: int | None, patience: float):
        super().__init__(problem)
        self.traffic = Traffic()
        self._num_actors = num_actors
        self._patience = patience
        self._crew: Crew | None = None
        self._others: Any = None
        self._states_travel = isinstance(problem, AbstractHostProblem)
        self._shares = StateShares() if self._states_travel else SimulatorShares(problem.horizon)
        self._lock = threading.Lock()

    def advance(self, segment: Segment) -> Outcome:
        with self._lock:
            outcome = Outcome.begin(segment)
            if np.all(segment.done):
                return outcome
            others = split(segment.params)[1].static
            if self._crew is not None and others != self._others:
                # Actors have these leaves from when they were started.
                self._crew.close()
                self._crew = None
            if self._crew is None:
                self._others = others
                blueprint = make_blueprint(self.problem, segment.params, segment.state)
                self._crew = Crew(blueprint, self._num_actors, self._patience)
            this = _Round(segment, outcome, ~segment.done)
            try:
                self._run(this, self._crew)
            finally:
                self._leave(this, self._crew)
            return outcome

    def resize(self, num_actors: int | None) -> None:
        """Wants so many actors from now on; `None` for one on each CPU of the cluster."""
        with self._lock:
            self._num_actors = num_actors
            if self._crew is not None:
                self._crew.resize(num_actors)

    def close(self) -> None:
        """Kills the actors."""
        with self._lock:
            if self._crew is not None:
                self._crew.close()
            self._crew = None

    def _run(self, this: _Round, crew: Crew) -> None:
        """Sends all rows and waits for them, no longer than patience lasts."""
        crew.assemble()
        end = time.monotonic() + self._patience
        members = crew.muster(self._patience)
        self._share_out(this, np.flatnonzero(this.waiting), members, 1)
        # States are still at hand, so that others can be asked too before it is too late.
        look_up = end - self._patience / 2 if self._states_travel else end
        while np.any(this.waiting) and time.monotonic() < end:
            left = max(0.0, look_up - time.monotonic())
            come, _ = ray.wait(list(this.jobs), num_returns=1, timeout=left)
            if come:
                self._receive(this, crew, come[0], end)
            elif look_up < end:
                look_up = end
                self._send_again(this, crew)

    def _share_out(self, this: _Round, rows: Rows, members: list[Member], tries: int) -> None:
        """Sends rows to whom they belong, or can be given to."""
        if not members:
            return self._lose(this, rows, f"no actor was free within {self._patience:g} s")
        place = self._shares.divide(this.segment, rows, members)
        if np.any(place < 0):
            self._lose(this, rows[place < 0], "the actor of their episodes is dead or stuck")
        for i, member in enumerate(members):
            if np.any(place == i):
                self._send(this, member, rows[place == i], tries)

    def _send(self, this: _Round, member: Member, rows: Rows, tries: int) -> None:
        order = self._shares.write(this.segment, rows, member)
        self._count(bytes_out=num_bytes(order))
        answer = member.handle.run.remote(order)
        this.jobs[answer] = _Job(member, rows, tries, time.monotonic())

    def _send_again(self, this: _Round, crew: Crew) -> None:
        """Gives what is late to those that have nothing to do. The first answer counts."""
        late = sorted(this.jobs.values(), key=lambda job: job.since)
        idle = [member for member in crew.muster(0.0) if not this.load(member)]
        for job, member in zip(late, idle, strict=False):
            self._send(this, member, job.rows, job.tries)

    def _receive(self, this: _Round, crew: Crew, ref: Any, end: float) -> None:
        """Puts an answer where it belongs; of an actor that died, has others run the rows."""
        job = this.jobs.pop(ref)
        try:
            answer: Answer = ray.get(ref)
        except RayTaskError as error:
            self._shares.give_up(this.segment, job.rows)
            if isinstance(error.cause, MisuseError):
                raise error.cause from None
            raise
        except RayError as error:
            crew.bury(job.member, str(error))
            self._save(this, crew, job, end)
            return
        self._count(bytes_in=num_bytes(answer))
        self.failures.extend(answer.num_failures, answer.failures)
        new = this.waiting[job.rows]
        rows, outcome = job.rows[new], this.outcome
        for old, leaf in zip(jax.tree.leaves(outcome.state), answer.state, strict=True):
            old[rows] = leaf[new]
        outcome.done[rows], outcome.losses[rows] = answer.done[new], answer.losses[new]
        outcome.taken[rows] = answer.taken[new]
        this.waiting[rows] = False
        self._shares.release(this.segment, rows, outcome)

    def _save(self, this: _Round, crew: Crew, job: _Job, end: float) -> None:
        """Has others run what was with an actor that died, as far as they can."""
        rows = job.rows[this.waiting[job.rows]]
        movable = self._shares.can_move(this.segment, rows) & (job.tries < _MOST_TRIES)
        if not np.all(movable):
            self._lose(this, rows[~movable], f"{job.member} has died")
        if np.any(movable):
            members = crew.muster(end - time.monotonic())
            self._share_out(this, rows[movable], members, job.tries + 1)

    def _lose(self, this: _Round, rows: Rows, why: str) -> None:
        this.outcome.losses[rows] = np.nan
        this.waiting[rows] = False
        self._shares.give_up(this.segment, rows)
        self._count(lost_rows=rows.size)
        text = f"{rows.size} rows of {this.waiting.size} were lost: {why}"
        self.failures.extend(rows.size, [text])

    def _leave(self, this: _Round, crew: Crew) -> None:
        """Closes a round. Actors that are still at work get no orders until they have answered."""
        for ref, job in this.jobs.items():
            if not job.member.overdue:
                job.member.since = job.since
            job.member.overdue.append(ref)
        for job in this.jobs.values():
            rows = job.rows[this.waiting[job.rows]]
            if rows.size:
                self._lose(this, rows, f"{job.member} has not answered within {self._patience:g} s")
        self.failures.extend(0, crew.complaints)
        crew.complaints.clear()
        self._count(segments=1, restarts=crew.restarts)
        crew.restarts = 0

    def _count(self, **more: int) -> None:
        total = {name: getattr(self.traffic, name) + count for name, count in more.items()}
        self.traffic = self.traffic._replace(**total)
