"""Rows as they are run in a process of the cluster."""

import os
import pickle
import socket
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import ray

from ..make_runner import make_runner
from ..runner import AbstractRunner
from ..segment import Outcome, Segment


class Answer(NamedTuple):
    """Rows that have been run, with the leaves of their states alone.

    - `num_failures`, `failures`: how many rows have failed, and the last few tracebacks.
    - `process`: the number of the process that ran them, and its machine.
    - `deaths`: how many processes have died of them before.
    """

    outcome: Outcome
    num_failures: int
    failures: list[str]
    process: str
    deaths: int


class RemoteRunner:
    """Runs the rows that it is sent, and holds their simulators. A ping makes it ready."""

    _runner: AbstractRunner | None = None

    def ping(self, spec: list[Any], number: int = 0) -> str:
        """Gets ready to run what `make_spec` has described, as the process of that number.

        The result names the process that it has come up in, and its machine.
        """
        problem, trees, num_leaves = pickle.loads(ray.get(spec[0]))
        arrays, self._others = eqx.partition(trees, eqx.is_array)
        self._trees = [jax.tree.structure(tree) for tree in arrays]
        if [tree.num_leaves for tree in self._trees] != num_leaves:
            raise TypeError(
                "parameters or states have a class of your own that does not outlast pickling: "
                "define it in a module that is installed, or use dicts, tuples and arrays"
            )
        self._runner = make_runner(problem, number)
        self._process = f"{os.getpid()} on {socket.gethostname()}"
        return self._process

    def run(self, rows: Segment, evict: np.ndarray | None = None, deaths: int = 0) -> Answer | None:
        """The rows after their steps, once the episodes with the seeds `evict` are given up.

        There is no answer if the process has been restarted since its ping.
        """
        if self._runner is None:
            return None
        if evict is not None:
            self._runner.evict(evict.tolist())
        # Given away as leaves, so that classes of the user need not be pickled every time.
        arrays = map(jax.tree.unflatten, self._trees, (rows.params, rows.state))
        params, state = map(eqx.combine, arrays, self._others)
        running = np.zeros(rows.t.size, bool)
        outcome = self._runner.advance(rows._replace(params=params, state=state, done=running))
        outcome = outcome._replace(state=jax.tree.leaves(outcome.state))
        return Answer(outcome, *self._runner.failures.take(), self._process, deaths)
