"""Losses of some episodes alone."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp

from .. import _rows as rows
from .._custom_types import Clocks, Params, RowMask
from .base import AbstractEngine, Trajectories
from .forwarding import AbstractForwarding


class MaskedEngine(AbstractForwarding):
    """Another engine, of whose episodes only some have losses; those of the others are zero.

    Whole episodes can so be told from those that a count of estimates cuts off, whatever the
    estimator does with losses. Failures show in every episode.

    **Arguments:**

    - `engine`: the other.
    - `first`: of each worker, the first of its episodes that counts, by number.
    - `count`: how many of its episodes count.
    """

    engine: AbstractEngine
    first: Clocks
    count: int = eqx.field(static=True)

    def __init__(self, engine: AbstractEngine, first: Clocks, count: int):
        self.engine = engine
        self.first = first
        self.count = count

    def check(self, params: Params) -> None:
        self.engine.check(params)

    def start(self, params, keys, shift=None):
        started = self.engine.start(params, keys, shift)
        return _with_counted(started, jnp.zeros_like(started.arms.done))

    def shorten(self, trajectories, episodes):
        plain, counted = _without_counted(trajectories)
        shortened = self.engine.shorten(plain, episodes)
        num_workers = self.first.size
        index = (episodes - jnp.take(self.first, episodes % num_workers)) // num_workers
        counts = (index >= 0) & (index < self.count)
        return _with_counted(shortened, rows.repeat(counts, counted.shape[0]))

    def unroll(self, params, trajectories, num_steps, shift=None):
        plain, counted = _without_counted(trajectories)
        after, losses = self.engine.unroll(params, plain, num_steps, shift)
        losses = jnp.where(counted | ~jnp.isfinite(losses), losses, jnp.zeros_like(losses))
        return _with_counted(after, counted), losses


def _with_counted(trajectories: Trajectories, counted: RowMask) -> Trajectories:
    """Trajectories with, beside their states, whether their episodes count."""
    arms = trajectories.arms
    return replace(trajectories, arms=replace(arms, state=(arms.state, counted)))


def _without_counted(trajectories: Trajectories) -> tuple[Trajectories, RowMask]:
    """The inverse of `_with_counted`."""
    state, counted = trajectories.arms.state
    return replace(trajectories, arms=replace(trajectories.arms, state=state)), counted
