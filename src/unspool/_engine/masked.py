"""Losses of some episodes alone."""

import equinox as eqx
import jax.numpy as jnp

from .. import _rows as rows
from .._custom_types import Clocks, Params
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
        return _with_state(started, (started.state, jnp.zeros_like(started.over)))

    def shorten(self, trajectories, births):
        state, counts = trajectories.state
        shortened = self.engine.shorten(_with_state(trajectories, state), births)
        num_workers = self.first.size
        index = (births - jnp.take(self.first, births % num_workers)) // num_workers
        counted = (index >= 0) & (index < self.count)
        return _with_state(shortened, (shortened.state, rows.repeat(counted, counts.shape[0])))

    def unroll(self, params, trajectories, num_steps, shift=None):
        state, counts = trajectories.state
        plain = _with_state(trajectories, state)
        after, losses = self.engine.unroll(params, plain, num_steps, shift)
        counted = counts | ~jnp.isfinite(losses)
        losses = jnp.where(counted, losses, jnp.zeros_like(losses))
        return _with_state(after, (after.state, counts)), losses


def _with_state(trajectories: Trajectories, state) -> Trajectories:
    return Trajectories.of((state, *trajectories.arms[1:]), trajectories.clock)
