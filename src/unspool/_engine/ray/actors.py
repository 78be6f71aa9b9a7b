"""Rows of simulators, which stay with the actor that has begun the episode."""

import collections
import time
from typing import Any

import numpy as np

from ..runner import AbstractRunner
from ..segment import Segment
from ..simulators import process_of
from .executor import AbstractRayExecutor, Call, Round
from .pool import ActorPool
from .processes import MOST_TRIES


class ActorExecutor(AbstractRayExecutor):
    """Sends rows to the actors that have their simulators, and new episodes to any."""

    def __init__(self, runner: AbstractRunner, num_actors: int | None, timeout: float):
        super().__init__(runner, num_actors, timeout)
        self._pool = ActorPool(timeout)

    def _begin(self, spec: list[Any]) -> None:
        self._pool.start(spec, self.num_actors)

    def _stop(self) -> None:
        self._pool.shrink(0)

    def _run(self, this: Round) -> None:
        if self.num_actors:
            self._pool.shrink(self.num_actors)
        self._share_out(this, np.flatnonzero(this.waiting), 1)
        self._collect(this, this.end)

    def _share_out(self, this: Round, rows: np.ndarray, tries: int) -> None:
        """Sends rows to whom they belong, or can be given to."""
        segment = this.segment
        ready = self._pool.ready(self.num_actors, this.end - time.monotonic())
        if not ready:
            return self._lose(this, rows, f"no actor was free within {self.timeout:g} s")
        numbers = [actor.number for actor in ready]
        home = affinity(segment, rows, numbers)
        for actor in self._pool.actors:
            mine = rows[home == actor.number]
            if actor not in ready:
                actor.evict += segment.start_seeds[mine].tolist()
            elif mine.size:
                self._submit(this, Call(mine, actor, tries))
        gone = rows[~np.isin(home, numbers)]
        self._lose(this, gone, "the actor of their episodes is dead or stuck")

    def _submit(self, this: Round, call: Call) -> None:
        segment, rows, actor = this.segment, call.rows, call.actor
        # Not a second time, should it die: it would have lost their simulators.
        run = actor.handle.run.options(max_task_retries=0).remote
        evict, actor.evict = np.array(actor.evict, np.uint64), []
        # Simulators draw from their start seed alone.
        steps = np.zeros((rows.size, segment.num_steps, 0), np.uint64)
        arm, worker = segment.arm[rows], segment.worker[rows]
        self._send(this, call, run, evict, step_seeds=steps, arm=arm, worker=worker)

    def _recover(self, this: Round, call: Call, why: str) -> None:
        self._pool.replace(call.actor, why)
        again = (this.segment.t[call.rows] == 0) & (call.tries < MOST_TRIES)
        self._lose(this, call.rows[~again], f"{call.actor} has died")
        if np.any(again):
            self._share_out(this, call.rows[again], call.tries + 1)

    def _leave(self, this: Round) -> None:
        for ref, (rows, actor, _) in this.calls.items():
            if not actor.pending:
                actor.late_since = this.end - self.timeout
            actor.pending.append(ref)
            actor.evict += this.segment.start_seeds[rows].tolist()
        for why in self._pool.errors:
            self._replaced(why)
        self._pool.errors.clear()


def affinity(segment: Segment, rows: np.ndarray, actors: list[int]) -> np.ndarray:
    """The number of the actor for each row: the one that has its simulator, whether or not it is
    among those given, or for a new episode the one of these with the fewest rows in this segment.
    """
    home, new = process_of(segment.state[rows]), segment.t[rows] == 0
    load = collections.Counter(home[~new].tolist())
    seeds = segment.start_seeds[rows]
    # All arms of a worker have one seed, and go together.
    for seed in dict.fromkeys(seeds[new].tolist()):
        place = new & (seeds == seed)
        number = min(actors, key=load.__getitem__)
        home[place] = number
        load[number] += int(np.sum(place))
    return home
