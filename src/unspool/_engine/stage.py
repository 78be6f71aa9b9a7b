"""Where simulators run: one stretch of some rows, in NumPy."""

import abc
import collections
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._black_box import AbstractBlackBox, AbstractHostProblem, AbstractSimulatorProblem

_MOST_FAILURES = 10


class Stretch(NamedTuple):
    """Rows, and what they are to be run with. Every leaf leads with rows.

    - `params`, `state`: a row's own.
    - `over`: whether it is frozen.
    - `t`: steps taken; a row at 0 has not been started yet.
    - `start_seeds`: for the start of its episode.
    - `step_seeds`: for each of the steps to take, `rows x steps`.
    - `arm`, `worker`: whose it is.
    """

    params: PyTree[Any]
    state: PyTree[Any]
    over: np.ndarray
    t: np.ndarray
    start_seeds: np.ndarray
    step_seeds: np.ndarray
    arm: np.ndarray
    worker: np.ndarray

    @property
    def num_steps(self) -> int:
        return self.step_seeds.shape[1]


class Outcome(NamedTuple):
    """Rows after a stretch; the loss of one that failed is NaN."""

    state: PyTree[Any]
    over: np.ndarray
    losses: np.ndarray


class Failures:
    """How many rows have failed, and the tracebacks of the last few."""

    def __init__(self):
        self.count = 0
        self.texts: collections.deque[str] = collections.deque(maxlen=_MOST_FAILURES)

    def add(self, text: str) -> None:
        self.extend(1, [text])

    def extend(self, count: int, texts: Iterable[str]) -> None:
        """Adds failures of which not all need a text."""
        self.count += count
        self.texts.extend(texts)

    def take(self) -> tuple[int, list[str]]:
        """All there are, which are then gone from here."""
        taken = self.count, list(self.texts)
        self.count = 0
        self.texts.clear()
        return taken


class AbstractStage(abc.ABC):
    """Runs a problem's rows; there is one for as long as its engine lives."""

    def __init__(self, problem: AbstractBlackBox):
        self.problem = problem
        self.failures = Failures()
        # By precision: that of the parameters may be that of the state.
        self._examples: dict[Any, PyTree[Any]] = {}

    def example(self) -> PyTree[Any]:
        """The state of one row, as it comes out of the host."""
        if not isinstance(self.problem, AbstractHostProblem):
            return np.zeros(1, np.int32)
        precision = jnp.result_type(float)
        if precision not in self._examples:
            self._examples[precision] = _try_out(self.problem)
        return self._examples[precision]

    @abc.abstractmethod
    def advance(self, stretch: Stretch) -> Outcome:
        """The rows after as many steps as there are seeds."""


class LocalStage(AbstractStage):
    """Runs a problem's rows in this process."""

    def __init__(self, problem: AbstractBlackBox):
        super().__init__(problem)
        self._simulators = Simulators(self.failures)
        self._lock = threading.Lock()

    def advance(self, stretch: Stretch) -> Outcome:
        with self._lock:
            if isinstance(self.problem, AbstractHostProblem):
                return _advance_states(self.problem, self.failures, stretch)
            assert isinstance(self.problem, AbstractSimulatorProblem)
            return self._simulators.advance(self.problem, stretch)

    def forget(self, seeds: Iterable[int]) -> None:
        """Throws away the simulators of episodes, known by their seeds, that are given up."""
        with self._lock:
            self._simulators.forget(seeds)


def _try_out(problem: AbstractHostProblem) -> PyTree[Any]:
    """The state of one row at the start of an episode, once a step has shown that it keeps shape.

    **Raises:** `ValueError` if it does not.
    """
    with jax.ensure_compile_time_eval():
        params = jax.device_get(problem.init_params(key=jax.random.key(0)))
    params = jax.tree.map(lambda x: np.asarray(x)[np.newaxis], params)
    seeds = np.zeros(1, np.uint64)
    state = jax.tree.map(np.asarray, problem.init_state(params, seeds=seeds))
    after, losses = problem.step(params, state, np.zeros(1, int), seeds=seeds)
    kinds = lambda tree: jax.tree.map(lambda x: (np.shape(x), np.asarray(x).dtype), tree)
    name = type(problem).__name__
    if any(np.shape(leaf)[:1] != (1,) for leaf in jax.tree.leaves(state)):
        raise ValueError(
            f"the states of {name} must lead with an axis of rows: init_state returned shapes "
            f"{jax.tree.map(np.shape, state)} for one row"
        )
    if kinds(after) != kinds(state):
        raise ValueError(
            f"states must keep their shapes and types: init_state of {name} returned "
            f"{kinds(state)}, step returned {kinds(after)}"
        )
    if np.shape(losses) != (1,):
        raise ValueError(
            f"step of {name} must return one loss for each row, of shape (rows,), "
            f"got {np.shape(losses)} for one row"
        )
    return state


def _advance_states(problem: AbstractHostProblem, failures: Failures, stretch: Stretch) -> Outcome:
    state = jax.tree.map(np.array, stretch.state)
    over, total = stretch.over.copy(), np.zeros(stretch.over.size)

    def attempt(call, rows, given):
        """What `call` makes of rows, and the rows that it has not failed for."""
        done, made = _attempt(call, rows, given, failures)
        if done.size < rows.size:
            total[np.setdiff1d(rows, done)] = np.nan
        return done, made

    def put(rows, new):
        for old, leaf in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
            old[rows] = leaf

    fresh = np.flatnonzero(~over & (stretch.t == 0))
    if fresh.size:
        given = _take((stretch.params, stretch.start_seeds), fresh)
        begun, begin = attempt(lambda p, s: problem.init_state(p, seeds=s), fresh, given)
        if begun.size:
            put(begun, begin)
            over[begun] = problem.is_over(begin)

    step = lambda p, x, t, s: problem.step(p, x, t, seeds=s)
    every = stretch.params, state, stretch.t, stretch.step_seeds
    running = ~over & np.isfinite(total)
    i = 0
    while i < stretch.num_steps and running.any():
        # States are put back only when a row drops out: most often none does.
        rows = done = np.flatnonzero(running)
        params, now, t, seeds = _take(every, rows)
        while i < stretch.num_steps and running[rows].all():
            done, made = attempt(step, rows, (params, now, t + i, seeds[:, i]))
            if made is not None:
                now, losses = made
                total[done] += losses
                over[done] = problem.is_over(now)
            i += 1
            # A window may reach beyond the end of an episode.
            running = ~over & np.isfinite(total) & (stretch.t + i < problem.horizon)
        if done.size:
            put(done, now)
    return Outcome(state, over, total)


def _attempt(call: Callable, rows: np.ndarray, given: PyTree, failures: Failures):
    """As `attempt` above. If it fails for all together, it is called for one after the other."""
    try:
        return rows, call(*given)
    except Exception:
        if rows.size == 1:
            failures.add(traceback.format_exc())
            return rows[:0], None
    each = [slice(i, i + 1) for i in range(rows.size)]
    alone = [_attempt(call, rows[one], _take(given, one), failures) for one in each]
    done = [(row, made) for row, made in alone if row.size]
    if not done:
        return rows[:0], None
    made = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(made for _, made in done))
    return np.concatenate([row for row, _ in done]), made


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

    def advance(self, problem: AbstractSimulatorProblem, stretch: Stretch) -> Outcome:
        stamps = np.array(stretch.state)
        over, total = stretch.over.copy(), np.zeros(stretch.over.size)
        names = list(zip(stretch.start_seeds.tolist(), stretch.arm.tolist(), strict=True))
        at_work: dict[int, Any] = {}

        def fail(rows):
            self._failures.add(traceback.format_exc())
            total[rows] = np.nan

        for row in np.flatnonzero(~over).tolist():
            try:
                if stretch.t[row] == 0:
                    params = _take(stretch.params, row)
                    stamps[row], at_work[row] = self._begin(problem, names[row], params)
                else:
                    at_work[row] = self._find(names[row], stamps[row])
            except Exception:
                fail(row)
        for i in range(stretch.num_steps):
            # A window may reach beyond the end of an episode.
            inside = stretch.t + i < problem.horizon
            rows = np.flatnonzero(~over & np.isfinite(total) & inside)
            if not rows.size:
                break
            simulators = [at_work[row] for row in rows.tolist()]
            params, t = _take((stretch.params, stretch.t), rows)
            try:
                commands = problem.commands(simulators, params, t + i)
            except Exception:
                fail(rows)
                break
            for row, simulator, command in zip(rows.tolist(), simulators, commands, strict=True):
                try:
                    loss, over[row] = problem.step(simulator, command)
                    total[row] += loss
                except Exception:
                    fail(row)
        self._release(problem, stretch, names, over, total)
        return Outcome(stamps, over, total)

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

    def _release(self, problem, stretch, names, over, total) -> None:
        """Takes back the simulators of episodes that have ended; one that failed is not kept."""
        failed = ~np.isfinite(total)
        dropped = np.isin(stretch.worker, stretch.worker[failed])
        ended = over | dropped | (stretch.t + stretch.num_steps >= problem.horizon)
        for row in np.flatnonzero(ended):
            _, simulator = self._busy.pop(names[row], (None, None))
            outdated = self._outdated.pop(names[row], None)
            if simulator is not None and simulator is not outdated and not failed[row]:
                self._idle.append(simulator)


def _take(tree: PyTree, rows) -> PyTree:
    return jax.tree.map(lambda x: x[rows], tree)
