"""Simulators that keep their state to themselves, one for each row that is under way."""

import traceback
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .._black_box import AbstractSimulatorProblem
from .._params import take
from .failures import Failures, attempt
from .returned import check_actions, check_step
from .runner import AbstractRunner
from .segment import Outcome, Segment

_MOST_EPISODES = 2**40
"""Number of episodes that a process can begin before its stamps are those of another."""

_Name = tuple[int, int]
"""A row's simulator is found by the seed of its episode and the arm."""


class SimulatorRunner(AbstractRunner):
    """Runs the rows that are under way, each in its simulator, and keeps those that wait.

    - `busy`: of each row under way the stamp that it carries for a state, and its simulator. The
      stamp tells whether the simulator is still where the row has left it.
    - `idle`: simulators for the next episodes.

    **Arguments:** `process`, the number of the process that this is, of several.
    """

    copies_states = False

    def __init__(self, problem: AbstractSimulatorProblem, process: int = 0):
        self.problem: AbstractSimulatorProblem = problem
        self.failures = Failures()
        self.busy: dict[_Name, tuple[int, Any]] = {}
        self.idle: list[Any] = []
        self._version: Hashable = None
        self._outdated: dict[_Name, Any] = {}
        self._stamp = process * _MOST_EPISODES

    def example(self) -> np.ndarray:
        return np.zeros(1, np.int64)

    def advance(self, segment: Segment) -> Outcome:
        outcome = Outcome.begin(segment)
        names = list(zip(segment.start_seeds.tolist(), segment.arm.tolist(), strict=True))
        try:
            self._run(segment, names, outcome)
        except BaseException:
            # Nobody will go on with these episodes.
            for name in names:
                self.busy.pop(name, None)
            raise
        self._release(segment, names, outcome)
        return outcome

    def evict(self, seeds: Iterable[int]) -> None:
        gone = set(seeds)
        self.busy = {name: found for name, found in self.busy.items() if name[0] not in gone}

    def _run(self, segment: Segment, names: list[_Name], outcome: Outcome) -> None:
        at_work = self._enter(segment, names, outcome)
        for i in range(segment.num_steps):
            # A window may reach beyond the end of an episode.
            inside = segment.t + i < self.problem.horizon
            rows = np.flatnonzero(~outcome.done & np.isfinite(outcome.losses) & inside)
            if not rows.size:
                break
            simulators = [at_work[row] for row in rows.tolist()]
            ran, actions = self._decide(segment, rows, simulators, i)
            outcome.losses[np.setdiff1d(rows, ran)] = np.nan
            for row, action in zip(ran.tolist(), actions, strict=True):
                try:
                    made = self.problem.step(at_work[row], action)
                except Exception:
                    self._fail(row, outcome)
                    continue
                loss, outcome.done[row] = check_step(self.problem, made)
                outcome.losses[row] += loss
                outcome.taken[row] += 1

    def _enter(self, segment: Segment, names: list[_Name], outcome: Outcome) -> dict[int, Any]:
        """The simulators of rows: reset for those that begin, found for those that go on."""
        at_work, stamps = {}, outcome.state
        for row in np.flatnonzero(~outcome.done).tolist():
            try:
                if segment.t[row] == 0:
                    params = take(segment.params, row)
                    stamps[row], at_work[row] = self._begin(names[row], params)
                else:
                    at_work[row] = self._find(names[row], int(stamps[row]))
            except Exception:
                self._fail(row, outcome)
        return at_work

    def _fail(self, row: int, outcome: Outcome) -> None:
        self.failures.add(traceback.format_exc())
        outcome.losses[row] = np.nan

    def _decide(
        self, segment: Segment, rows: np.ndarray, simulators: list[Any], i: int
    ) -> tuple[np.ndarray, list[Any]]:
        """The rows for which there is an action in the step to come, and their actions."""
        params, t = take((segment.params, segment.t), rows)

        def decide(place):
            some = simulators[place]
            made = self.problem.actions(some, take(params, place), t[place] + i)
            return check_actions(self.problem, made, len(some))

        ran, made = attempt(decide, rows, self.failures)
        return ran, [action for piece in made for action in piece]

    def _begin(self, name: _Name, params: Any) -> tuple[int, Any]:
        if self.problem.version != self._version:
            # Those at work end their episodes, and begin no other.
            self._version, self.idle = self.problem.version, []
            self._outdated = {name: simulator for name, (_, simulator) in self.busy.items()}
        _, simulator = self.busy.pop(name, (None, None))
        if simulator is None or self._outdated.pop(name, None) is simulator:
            simulator = self.idle.pop() if self.idle else self.problem.make()
        self.problem.reset(simulator, params, seed=name[0])
        self._stamp += 1
        self.busy[name] = self._stamp, simulator
        return self._stamp, simulator

    def _find(self, name: _Name, stamp: int) -> Any:
        found, simulator = self.busy.get(name, (None, None))
        if found != stamp:
            raise LookupError(
                "the simulator of this episode is gone: it was lost, or another training with the "
                "same key has begun the episode anew"
            )
        return simulator

    def _release(self, segment: Segment, names: list[_Name], outcome: Outcome) -> None:
        """Takes back the simulators of episodes that have ended; one that failed is not kept."""
        failed = ~np.isfinite(outcome.losses)
        dropped = np.isin(segment.worker, segment.worker[failed])
        ends = outcome.done | dropped | (segment.t + segment.num_steps >= self.problem.horizon)
        for row in np.flatnonzero(ends):
            _, simulator = self.busy.pop(names[row], (None, None))
            outdated = self._outdated.pop(names[row], None)
            if simulator is not None and simulator is not outdated and not failed[row]:
                self.idle.append(simulator)


def process_of(stamps: np.ndarray) -> np.ndarray:
    """The numbers of the processes that have begun episodes, by the stamps of the rows."""
    return stamps // _MOST_EPISODES
