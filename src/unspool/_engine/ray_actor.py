"""What runs on an actor, and what travels there and back. Nothing here needs Ray."""

import os
import pickle
import socket
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from .executor import Segment
from .local_executor import LocalExecutor


class Order(NamedTuple):
    """Rows for one actor: a `Segment` without what the actor knows or has no use for.

    - `params`, `state`: leaves; their trees are in the actor's blueprint.
    - `step_seeds`: for simulators, which draw from their start seed alone, their number.
    - `arm`, `worker`: of simulators, which are found by them.
    - `forget`: start seeds of episodes that will not be gone on with.
    """

    params: list[np.ndarray]
    state: list[np.ndarray]
    t: np.ndarray
    start_seeds: np.ndarray
    step_seeds: np.ndarray | int
    arm: np.ndarray | None
    worker: np.ndarray | None
    forget: np.ndarray | None


class Answer(NamedTuple):
    """An `Outcome`, the number of rows that failed in it, and the last few tracebacks."""

    state: list[np.ndarray]
    done: np.ndarray
    losses: np.ndarray
    taken: np.ndarray
    num_failures: int
    failures: list[str]


def num_bytes(message: Order | Answer) -> int:
    """The size of its arrays."""
    leaves = jax.tree.leaves(tuple(message))
    return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, np.ndarray))


class RowsActor:
    """Runs the rows that it is sent, and holds their simulators.

    **Arguments:** `blueprint`, the pickle of a problem, of trees like those of its parameters and
    its states, and of how many leaves these have.
    """

    def __init__(self, blueprint: bytes):
        problem, trees, num_leaves = pickle.loads(blueprint)
        arrays, self._others = eqx.partition(trees, eqx.is_array)
        self._trees = [jax.tree.structure(tree) for tree in arrays]
        if [tree.num_leaves for tree in self._trees] != num_leaves:
            raise TypeError(
                "parameters or states have a class of your own that does not outlast pickling: "
                "define it in a module that is installed, or use dicts, tuples and arrays"
            )
        self._stage = LocalExecutor(problem)

    def greet(self) -> tuple[int, str]:
        """The process and the machine that it has come up in."""
        return os.getpid(), socket.gethostname()

    def run(self, order: Order) -> Answer:
        if order.forget is not None:
            self._stage.forget(order.forget.tolist())
        num_rows = order.t.size
        # Given away as leaves, so that classes of the user need not be pickled every time.
        arrays = map(jax.tree.unflatten, self._trees, (order.params, order.state))
        params, state = map(eqx.combine, arrays, self._others)
        steps: Any = order.step_seeds
        if isinstance(steps, int):
            steps = np.broadcast_to(np.uint64(0), (num_rows, steps))
        of_simulators = order.arm, order.worker
        arm, worker = (np.zeros(num_rows, int) if x is None else x for x in of_simulators)
        running = np.zeros(num_rows, bool)
        outcome = self._stage.advance(
            Segment(params, state, running, order.t, order.start_seeds, steps, arm, worker)
        )
        count, texts = self._stage.failures.take()
        state = jax.tree.leaves(outcome.state)
        return Answer(state, outcome.done, outcome.losses, outcome.taken, count, texts)
