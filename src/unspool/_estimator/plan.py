"""The facts of an estimator that do not change from one estimate to the next."""

from typing import Any, NamedTuple

from .._custom_types import BoolScalar, IntScalar
from .._target import Target
from .phases import AbstractPhases, EvenPhases


class Plan(NamedTuple):
    """The facts of an estimator for episodes of a horizon.

    - `horizon`: steps of an episode.
    - `num_windows`: estimates in one episode.
    - `num_sequential_steps`: problem steps of one estimate that have to follow one another.
    - `num_workers`: antithetic pairs, or trajectories where there are no pairs.
    - `num_rows`: trajectories that run side by side.
    - `phases`: where in the episode groups start.
    - `target`: the gradient that the mean of the estimates equals.
    - `needs_derivatives`: whether steps are differentiated, which an engine may not allow.
    - `needs_copies`: whether trajectories go on from the state of another, which not all
      simulators allow.
    - `pairs_per_group`: how many pairs share clock, keys and data.
    - `extra_stats`: names of statistics that other estimators do not have.
    """

    horizon: int
    num_windows: int
    num_sequential_steps: int
    num_workers: int
    num_rows: int
    phases: AbstractPhases
    target: Target
    needs_derivatives: bool
    needs_copies: bool = False
    pairs_per_group: int = 1
    extra_stats: tuple[str, ...] = ()

    @property
    def num_groups(self) -> int:
        """Groups of workers that share clock, keys and data."""
        return self.num_workers // self.pairs_per_group

    @property
    def num_steps(self) -> int:
        """Problem steps that one estimate runs, all rows together."""
        return self.num_rows * self.num_sequential_steps

    @property
    def num_warmup_windows(self) -> int:
        """Windows that `init` runs so that groups start at different places."""
        return self.phases.num_warmup_windows(self.num_windows)

    def ends_round(self, num_updates: IntScalar) -> BoolScalar:
        """True if so many updates have been made that the next one begins a round of episodes.

        Where all episodes have one length, a worker begins one in each round.
        """
        return (num_updates + self.num_warmup_windows) % self.num_windows == 0

    @property
    def steps_per_window(self) -> float:
        """Steps of an episode for each of its windows, of which the last one may have fewer."""
        return self.horizon / self.num_windows


def plan_whole_windows(estimator: Any, horizon: int, target: Target) -> Plan:
    """The plan of an estimator that differentiates steps, with one row for each worker."""
    window = min(estimator.window or horizon, horizon)
    return Plan(
        horizon=horizon,
        num_windows=-(-horizon // window),
        num_sequential_steps=window,
        num_workers=estimator.num_workers,
        num_rows=estimator.num_workers,
        phases=EvenPhases(),
        target=target,
        needs_derivatives=True,
    )
