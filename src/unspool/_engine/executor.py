"""Where simulators run: one segment of some rows, in NumPy."""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._black_box import AbstractBlackBox, AbstractHostProblem
from .failures import Failures
from .try_out import try_out


class Segment(NamedTuple):
    """Rows, and what they are to be run with. Every leaf leads with rows.

    - `params`, `state`: a row's own.
    - `done`: whether it is frozen.
    - `t`: steps taken; a row at 0 has not been started yet.
    - `start_seeds`: for the start of its episode.
    - `step_seeds`: for each of the steps to take, `rows x steps`.
    - `arm`, `worker`: whose it is.
    """

    params: PyTree[Any]
    state: PyTree[Any]
    done: np.ndarray
    t: np.ndarray
    start_seeds: np.ndarray
    step_seeds: np.ndarray
    arm: np.ndarray
    worker: np.ndarray

    @property
    def num_steps(self) -> int:
        return self.step_seeds.shape[1]


class Outcome(NamedTuple):
    """Rows after a segment; the loss of one that failed is NaN.

    `taken` counts the steps that each row has run: none after it is over, has failed or is at the
    horizon. The step with which it ends counts, one that raised an exception does not.
    """

    state: PyTree[Any]
    done: np.ndarray
    losses: np.ndarray
    taken: np.ndarray

    @classmethod
    def begin(cls, segment: Segment) -> "Outcome":
        """The rows as they are before their first step, in arrays of their own."""
        size = segment.done.size
        state = jax.tree.map(np.array, segment.state)
        return cls(state, segment.done.copy(), np.zeros(size), np.zeros(size, np.int32))


class AbstractExecutor(abc.ABC):
    """Runs a problem's rows; there is one for as long as its engine lives."""

    def __init__(self, problem: AbstractBlackBox):
        self.problem = problem
        self.failures = Failures()
        self._stopped: BaseException | None = None
        # By precision: that of the parameters may be that of the state.
        self._examples: dict[Any, PyTree[Any]] = {}

    def example(self) -> PyTree[Any]:
        """The state of one row, as it comes out of the host."""
        if not isinstance(self.problem, AbstractHostProblem):
            return np.zeros(1, np.int32)
        precision = jnp.result_type(float)
        if precision not in self._examples:
            self._examples[precision] = try_out(self.problem)
        return self._examples[precision]

    def run(self, segment: Segment) -> Outcome:
        """As `advance`, within a program of XLA, which would wrap an exception in its own.

        All rows are then lost, now and from now on, until `throw` has raised it.
        """
        if self._stopped is None:
            try:
                return self.advance(segment)
            except BaseException as error:
                self._stopped = error
        outcome = Outcome.begin(segment)
        outcome.losses[~segment.done] = np.nan
        return outcome

    def throw(self) -> None:
        """Raises what has stopped `run`, if anything has."""
        error, self._stopped = self._stopped, None
        if error is not None:
            raise error

    @abc.abstractmethod
    def advance(self, segment: Segment) -> Outcome:
        """The rows after as many steps as there are seeds.

        **Raises:** `MisuseError` for a method that returns what it may not.
        """
