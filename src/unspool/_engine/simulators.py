"""Simulators that keep their state to themselves, one for each row that is under way."""

import traceback
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .._black_box import AbstractSimulatorProblem
from .._params import take
from .executor import Outcome, Segment
from .failures import Failures, attempt
from .returned import check_commands, check_step


class Simulators:
    """The simulators of the rows that are under way, and those that wait for the next episode.

    A simulator is found by the seed of its episode and the arm. The stamp that its row carries
    for a state tells whether the simulator is still where the row has left it.
    """

    def __init__(self, failures: Failures):
        self._failures = failures
        self._busy: dict[tuple[int, int], tuple[int, Any]] = {}
        self._idle: list[Any] = []
        self._version: Hashable = None
        self._outdated: dict[tuple[int, int], Any] = {}
        self._stamp = 0

    def advance(self, problem: AbstractSimulatorProblem, segment: Segment) -> Outcome:
        """The rows after as many steps as there are seeds.

        **Raises:** `MisuseError` for a method that returns what it may not.
        """
        outcome = Outcome.begin(segment)
        names = list(zip(segment.start_seeds.tolist(), segment.arm.tolist(), strict=True))
        try:
            self._run(problem, segment, names, outcome)
        except BaseException:
            # Nobody will go on with these episodes.
            for name in names:
                self._busy.pop(name, None)
            raise
        self._release(problem, segment, names, outcome.done, outcome.losses)
        return outcome

    def _run(self, problem, segment: Segment, names, outcome: Outcome) -> None:
        stamps, done, total, taken = outcome
        at_work: dict[int, Any] = {}

        def fail(row):
            self._failures.add(traceback.format_exc())
            total[row] = np.nan

        for row in np.flatnonzero(~done).tolist():
            try:
                if segment.t[row] == 0:
                    params = take(segment.params, row)
                    stamps[row], at_work[row] = self._begin(problem, names[row], params)
                else:
                    at_work[row] = self._find(names[row], stamps[row])
            except Exception:
                fail(row)
        for i in range(segment.num_steps):
            # A window may reach beyond the end of an episode.
            inside = segment.t + i < problem.horizon
            rows = np.flatnonzero(~done & np.isfinite(total) & inside)
            if not rows.size:
                break
            simulators = [at_work[row] for row in rows.tolist()]
            ran, commands = self._decide(problem, segment, rows, simulators, i)
            total[np.setdiff1d(rows, ran)] = np.nan
            for row, command in zip(ran.tolist(), commands, strict=True):
                try:
                    made = problem.step(at_work[row], command)
                except Exception:
                    fail(row)
                    continue
                loss, done[row] = check_step(problem, made)
                total[row] += loss
                taken[row] += 1

    def _decide(
        self, problem, segment: Segment, rows, simulators, i: int
    ) -> tuple[np.ndarray, list[Any]]:
        """The rows for which there is a command in the step to come, and their commands."""
        params, t = take((segment.params, segment.t), rows)

        def decide(place):
            some = simulators[place]
            made = problem.commands(some, take(params, place), t[place] + i)
            return check_commands(problem, made, len(some))

        ran, made = attempt(decide, rows, self._failures)
        return ran, [command for piece in made for command in piece]

    def forget(self, seeds: Iterable[int]) -> None:
        gone = set(seeds)
        self._busy = {name: found for name, found in self._busy.items() if name[0] not in gone}

    def _begin(self, problem, name, params) -> tuple[int, Any]:
        if problem.version != self._version:
            # Those at work end their episodes, and begin no other.
            self._version, self._idle = problem.version, []
            self._outdated = {name: simulator for name, (_, simulator) in self._busy.items()}
        _, simulator = self._busy.pop(name, (None, None))
        if simulator is None or self._outdated.pop(name, None) is simulator:
            simulator = self._idle.pop() if self._idle else problem.make()
        problem.reset(simulator, params, seed=name[0])
        self._stamp += 1
        self._busy[name] = self._stamp, simulator
        return self._stamp, simulator

    def _find(self, name, stamp) -> Any:
        found, simulator = self._busy.get(name, (None, None))
        if found != stamp:
            raise LookupError(
                "the simulator of this episode is gone: it was lost, or another training with the "
                "same key has begun the episode anew"
            )
        return simulator

    def _release(self, problem, segment, names, done, total) -> None:
        """Takes back the simulators of episodes that have ended; one that failed is not kept."""
        failed = ~np.isfinite(total)
        dropped = np.isin(segment.worker, segment.worker[failed])
        ends = done | dropped | (segment.t + segment.num_steps >= problem.horizon)
        for row in np.flatnonzero(ends):
            _, simulator = self._busy.pop(names[row], (None, None))
            outdated = self._outdated.pop(names[row], None)
            if simulator is not None and simulator is not outdated and not failed[row]:
                self._idle.append(simulator)
