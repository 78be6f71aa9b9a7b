"""Participation of workers in a window."""

from typing import NamedTuple

from .._custom_types import Clocks, IntScalar, PairMask, Scalar, WorkerMask, WorkerValues


class Roster(NamedTuple):
    """The workers that take part in a window, and how much each counts for.

    - `reset`: groups that begin an episode.
    - `episode`: the id of everyone's episode.
    - `running`: pairs that are not waiting for the end of an episode in which they failed.
    - `share`: the factor of a pair's gradient if it comes through the window. While nothing fails,
      all have an equal share and they add up to one.
    """

    reset: WorkerMask
    episode: Clocks
    running: PairMask
    share: WorkerValues


class Census(NamedTuple):
    """Counts of the pairs that took part in a window.

    - `attempted`: those that ran it.
    - `healthy`: those that came through, with finite losses and derivatives.
    - `stood_for`: how many of those that came into the window these stand for.
    """

    attempted: IntScalar
    healthy: IntScalar
    stood_for: Scalar
