"""Rows of a problem whose states go in and come out, one segment further."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._black_box import AbstractHostProblem, HostState
from .._params import take
from .failures import Failures, attempt
from .returned import check_done, check_losses, check_pair, check_states
from .runner import AbstractRunner
from .segment import Outcome, Segment
from .try_out import try_out


class StateRunner(AbstractRunner):
    """Runs rows whose states go in and come out, all of them in one call of the problem's."""

    copies_states = True

    def __init__(self, problem: AbstractHostProblem):
        self.problem: AbstractHostProblem = problem
        self.failures = Failures()
        # By precision: that of the parameters may be that of the state.
        self._examples: dict[Any, HostState] = {}

    @property
    def fixed_length(self) -> bool:
        return not self.problem.episodes.ends_early

    def example(self) -> HostState:
        precision = jnp.result_type(float)
        if precision not in self._examples:
            self._examples[precision] = try_out(self.problem)
        return self._examples[precision]

    def advance(self, segment: Segment) -> Outcome:
        outcome = Outcome.begin(segment)
        state, done, total, taken = outcome
        call = _Calls(self.problem, self.failures, segment, outcome)
        fresh = np.flatnonzero(~done & (segment.t == 0))
        if fresh.size:
            begun, begin = call.init_state(fresh)
            call.is_done(begun, begin)
            _put(state, begun, begin)
        running = ~done & np.isfinite(total)
        i = 0
        while i < segment.num_steps and running.any():
            # States are put back only when a row drops out: most often none does.
            rows = ran = np.flatnonzero(running)
            now = take(state, rows)
            params, t, seeds = take((segment.params, segment.t, segment.step_seeds), rows)
            while i < segment.num_steps and running[rows].all():
                ran, now, losses = call.step(rows, params, now, t + i, seeds[:, i])
                total[ran] += losses
                taken[ran] += 1
                call.is_done(ran, now)
                i += 1
                # A window may reach beyond the end of an episode.
                inside = segment.t + i < self.problem.horizon
                running = ~done & np.isfinite(total) & inside
            _put(state, ran, now)
        return outcome

    def evict(self, seeds: Iterable[int]) -> None:
        """Nothing is kept."""


class _Calls:
    """The methods of a problem, for as many of some rows as they do not fail for.

    Of the others the loss becomes NaN.
    """

    def __init__(self, problem, failures, segment: Segment, outcome: Outcome):
        self._problem = problem
        self._failures = failures
        self._segment = segment
        self._outcome = outcome
        self._is_done = problem.episodes.is_done

    def init_state(self, rows: np.ndarray) -> tuple[np.ndarray, HostState]:
        """The rows that have been begun, and their states."""
        params, seeds = take((self._segment.params, self._segment.start_seeds), rows)

        def begin(place):
            given = take(params, place)
            state = self._problem.init_state(given, seeds=seeds[place])
            return self._check_states("init_state", state, seeds[place].size)

        ran, made = self._attempt(begin, rows)
        return ran, _join(made, self._segment.state)

    def step(self, rows, params, state, t, seeds) -> tuple[np.ndarray, HostState, np.ndarray]:
        """The rows that have been stepped, their states and their losses."""

        def step(place):
            given = take((params, state, t), place)
            pair = self._problem.step(*given, seeds=seeds[place])
            after, losses = check_pair(self._problem, pair, "the next states and the losses")
            size = seeds[place].size
            after = self._check_states("step", after, size)
            return after, check_losses(self._problem, losses, size)

        ran, made = self._attempt(step, rows)
        return ran, *_join(made, (self._segment.state, np.zeros(0)))

    def is_done(self, rows: np.ndarray, state: HostState) -> None:
        """Takes note of which rows are over."""
        method = self._is_done
        if method is None or not rows.size:
            return

        def is_done(place):
            found = method(take(state, place))
            return check_done(self._problem, found, rows[place].size)

        ran, made = self._attempt(is_done, rows)
        self._outcome.done[ran] = _join(made, np.zeros(0, bool))

    def _check_states(self, method: str, state: HostState, num_rows: int) -> HostState:
        return check_states(self._problem, method, state, num_rows, self._segment.state)

    def _attempt(self, call: Callable[[slice], Any], rows: np.ndarray):
        ran, made = attempt(call, rows, self._failures)
        if ran.size < rows.size:
            self._outcome.losses[np.setdiff1d(rows, ran)] = np.nan
        return ran, made


def _put(tree: PyTree, rows, new: PyTree) -> None:
    for old, leaf in zip(jax.tree.leaves(tree), jax.tree.leaves(new), strict=True):
        old[rows] = leaf


def _join(pieces: list[PyTree], like: PyTree) -> PyTree:
    """One tree of pieces that follow one another; of none, the like of them without rows."""
    if not pieces:
        return take(like, slice(0, 0))
    if len(pieces) == 1:
        return pieces[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
