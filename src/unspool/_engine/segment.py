"""Rows of simulators: what they are to be run with, and what has come of them."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree


class Segment(NamedTuple):
    """Rows, and what they are to be run with. Every leaf leads with rows.

    - `params`, `state`: a row's own.
    - `done`: rows that are frozen.
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
