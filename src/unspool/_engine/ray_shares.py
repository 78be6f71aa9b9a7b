"""Which actor runs which rows, and what it is told about them."""

import abc
import collections

import jax
import numpy as np

from .executor import Outcome, Segment
from .ray_actor import Order
from .ray_crew import Member

Rows = np.ndarray
"""Numbers of rows of a segment."""


class AbstractShares(abc.ABC):
    """Divides the rows of a problem. All arms of a worker go to the same actor."""

    @abc.abstractmethod
    def divide(self, segment: Segment, rows: Rows, members: list[Member]) -> np.ndarray:
        """The place among `members` of each row's actor; -1 where none of them can run it."""

    @abc.abstractmethod
    def can_move(self, segment: Segment, rows: Rows) -> np.ndarray:
        """Which rows any other actor can run as well."""

    @abc.abstractmethod
    def write(self, segment: Segment, rows: Rows, member: Member) -> Order:
        """What an actor is told."""

    @abc.abstractmethod
    def release(self, segment: Segment, rows: Rows, outcome: Outcome) -> None:
        """Takes note of rows that have been run: some episodes are at their end."""

    @abc.abstractmethod
    def give_up(self, segment: Segment, rows: Rows) -> None:
        """Takes note of rows that have been lost."""


class StateShares(AbstractShares):
    """For states that go out and come in: even shares, which anyone can run."""

    def divide(self, segment: Segment, rows: Rows, members: list[Member]) -> np.ndarray:
        names, worker = np.unique(segment.worker[rows], return_inverse=True)
        return worker * len(members) // names.size

    def can_move(self, segment: Segment, rows: Rows) -> np.ndarray:
        return np.ones(rows.size, bool)

    def write(self, segment: Segment, rows: Rows, member: Member) -> Order:
        return Order(
            *_leaves(segment, rows),
            t=segment.t[rows],
            start_seeds=segment.start_seeds[rows],
            step_seeds=segment.step_seeds[rows],
            arm=None,
            worker=None,
            forget=None,
        )

    def release(self, segment: Segment, rows: Rows, outcome: Outcome) -> None:
        pass

    def give_up(self, segment: Segment, rows: Rows) -> None:
        pass


class SimulatorShares(AbstractShares):
    """For simulators, which stay with the actor that has begun the episode.

    A new episode goes to the actor with the fewest rows in this segment.
    """

    def __init__(self, horizon: int):
        self._horizon = horizon
        self._homes: dict[int, Member] = {}

    def divide(self, segment: Segment, rows: Rows, members: list[Member]) -> np.ndarray:
        seeds = segment.start_seeds[rows].tolist()
        num_rows = collections.Counter(seeds)
        new = dict.fromkeys(segment.start_seeds[rows[segment.t[rows] == 0]].tolist())
        place, load = dict.fromkeys(seeds, -1), [0] * len(members)
        for seed in place:
            if seed not in new and (home := self._homes.get(seed)) in members:
                place[seed] = members.index(home)
                load[place[seed]] += num_rows[seed]
        for seed in new:
            # One that begins anew is best off where its last simulator was.
            home = self._homes.get(seed)
            place[seed] = min(range(len(load)), key=lambda i: (load[i], members[i] is not home))
            load[place[seed]] += num_rows[seed]
            if members[place[seed]] is not home:
                self._leave(seed)
                self._homes[seed] = members[place[seed]]
        return np.array([place[seed] for seed in seeds], int)

    def can_move(self, segment: Segment, rows: Rows) -> np.ndarray:
        return segment.t[rows] == 0

    def write(self, segment: Segment, rows: Rows, member: Member) -> Order:
        forget, member.forget = member.forget, []
        return Order(
            *_leaves(segment, rows),
            t=segment.t[rows],
            start_seeds=segment.start_seeds[rows],
            step_seeds=segment.num_steps,
            arm=segment.arm[rows],
            worker=segment.worker[rows],
            forget=np.array(forget, np.uint64) if forget else None,
        )

    def release(self, segment: Segment, rows: Rows, outcome: Outcome) -> None:
        failed = rows[~np.isfinite(outcome.losses[rows])]
        all_done = outcome.done[rows] | np.isin(segment.worker[rows], segment.worker[failed])
        all_done |= segment.t[rows] + segment.num_steps >= self._horizon
        seeds = segment.start_seeds[rows]
        for seed in set(seeds[all_done].tolist()) - set(seeds[~all_done].tolist()):
            self._homes.pop(seed, None)

    def give_up(self, segment: Segment, rows: Rows) -> None:
        for seed in set(segment.start_seeds[rows].tolist()):
            self._leave(seed)

    def _leave(self, seed: int) -> None:
        home = self._homes.pop(seed, None)
        if home is not None and home.alive:
            home.forget.append(seed)


def _leaves(segment: Segment, rows: Rows) -> list[list[np.ndarray]]:
    trees = segment.params, segment.state
    return [[x[rows] for x in jax.tree.leaves(tree) if isinstance(x, np.ndarray)] for tree in trees]
