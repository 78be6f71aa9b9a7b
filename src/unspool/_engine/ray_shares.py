"""Which actor runs which rows, and what it is told about them."""

import abc
import collections

import jax
import numpy as np

from .ray_actor import Order
from .ray_crew import Member
from .stage import Outcome, Stretch

Rows = np.ndarray
"""Numbers of rows of a stretch."""


class AbstractShares(abc.ABC):
    """Divides the rows of a problem. All arms of a worker go to the same actor."""

    @abc.abstractmethod
    def divide(self, stretch: Stretch, rows: Rows, members: list[Member]) -> np.ndarray:
        """The place among `members` of each row's actor; -1 where none of them can run it."""

    @abc.abstractmethod
    def can_move(self, stretch: Stretch, rows: Rows) -> np.ndarray:
        """Which rows any other actor can run as well."""

    @abc.abstractmethod
    def write(self, stretch: Stretch, rows: Rows, member: Member) -> Order:
        """What an actor is told."""

    @abc.abstractmethod
    def release(self, stretch: Stretch, rows: Rows, outcome: Outcome) -> None:
        """Takes note of rows that have been run: some episodes are at their end."""

    @abc.abstractmethod
    def give_up(self, stretch: Stretch, rows: Rows) -> None:
        """Takes note of rows that have been lost."""


class StateShares(AbstractShares):
    """For states that go out and come in: even shares, which anyone can run."""

    def divide(self, stretch: Stretch, rows: Rows, members: list[Member]) -> np.ndarray:
        names, worker = np.unique(stretch.worker[rows], return_inverse=True)
        return worker * len(members) // names.size

    def can_move(self, stretch: Stretch, rows: Rows) -> np.ndarray:
        return np.ones(rows.size, bool)

    def write(self, stretch: Stretch, rows: Rows, member: Member) -> Order:
        return Order(
            *_leaves(stretch, rows),
            t=stretch.t[rows],
            start_seeds=stretch.start_seeds[rows],
            step_seeds=stretch.step_seeds[rows],
            arm=None,
            worker=None,
            forget=None,
        )

    def release(self, stretch: Stretch, rows: Rows, outcome: Outcome) -> None:
        pass

    def give_up(self, stretch: Stretch, rows: Rows) -> None:
        pass


class SimulatorShares(AbstractShares):
    """For simulators, which stay with the actor that has begun the episode.

    A new episode goes to the actor with the fewest rows in this stretch.
    """

    def __init__(self, horizon: int):
        self._horizon = horizon
        self._homes: dict[int, Member] = {}

    def divide(self, stretch: Stretch, rows: Rows, members: list[Member]) -> np.ndarray:
        seeds = stretch.start_seeds[rows].tolist()
        num_rows = collections.Counter(seeds)
        new = dict.fromkeys(stretch.start_seeds[rows[stretch.t[rows] == 0]].tolist())
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

    def can_move(self, stretch: Stretch, rows: Rows) -> np.ndarray:
        return stretch.t[rows] == 0

    def write(self, stretch: Stretch, rows: Rows, member: Member) -> Order:
        forget, member.forget = member.forget, []
        return Order(
            *_leaves(stretch, rows),
            t=stretch.t[rows],
            start_seeds=stretch.start_seeds[rows],
            step_seeds=stretch.num_steps,
            arm=stretch.arm[rows],
            worker=stretch.worker[rows],
            forget=np.array(forget, np.uint64) if forget else None,
        )

    def release(self, stretch: Stretch, rows: Rows, outcome: Outcome) -> None:
        failed = rows[~np.isfinite(outcome.losses[rows])]
        ended = outcome.over[rows] | np.isin(stretch.worker[rows], stretch.worker[failed])
        ended |= stretch.t[rows] + stretch.num_steps >= self._horizon
        seeds = stretch.start_seeds[rows]
        for seed in set(seeds[ended].tolist()) - set(seeds[~ended].tolist()):
            self._homes.pop(seed, None)

    def give_up(self, stretch: Stretch, rows: Rows) -> None:
        for seed in set(stretch.start_seeds[rows].tolist()):
            self._leave(seed)

    def _leave(self, seed: int) -> None:
        home = self._homes.pop(seed, None)
        if home is not None and home.alive:
            home.forget.append(seed)


def _leaves(stretch: Stretch, rows: Rows) -> list[list[np.ndarray]]:
    trees = stretch.params, stretch.state
    return [[x[rows] for x in jax.tree.leaves(tree) if isinstance(x, np.ndarray)] for tree in trees]
