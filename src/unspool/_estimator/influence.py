"""Kernel C: a sketch of how the parameters have moved the state, carried forward in time."""

import abc
import functools as ft
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, Params, RandomKey
from .._engine import AbstractEngine, Trajectories
from .._random import numbered
from .._target import Target
from .base import AbstractEstimator
from .phases import EvenPhases
from .tally import Tally, tally
from .workers import Workers, choose, enlist

WorkerTree = PyTree[Float[Array, "workers ..."]]


class LinearStep(NamedTuple):
    """The derivative of one step, or of a birth, worker by worker.

    - `forward(state, shift)`: how the next state moves with the incoming one and the parameters.
    - `backward(state, loss)`: what a weighting of the next state and the loss says of the
      incoming state and the parameters.
    """

    forward: Callable[[WorkerTree, WorkerTree], WorkerTree]
    backward: Callable[[WorkerTree, Float[Array, " workers"]], tuple[WorkerTree, WorkerTree]]


class AbstractSketch(eqx.Module):
    """A stand-in for the derivative of each worker's state with respect to the parameters."""

    @abc.abstractmethod
    def blank(self, state: WorkerTree, params: Params) -> PyTree[Any]:
        """The sketch of a derivative that is zero."""

    @abc.abstractmethod
    def pull(self, sketch: PyTree[Any], cotangent: WorkerTree, params: Params) -> WorkerTree:
        """What a weighting of the state says of the parameters, through the sketch."""

    @abc.abstractmethod
    def push(self, sketch: PyTree[Any], step: LinearStep, keys: Any, params: Params) -> PyTree[Any]:
        """The sketch one step later."""


class AbstractInfluence(AbstractEstimator):
    r"""The kernel of estimators that carry an influence forward.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N} \sum_{t \in \text{window}}
       \Big( \frac{\partial \ell_t}{\partial s_t} \tilde G_t +
       \frac{\partial \ell_t}{\partial \theta} \Big)^{(i)} $$

    with $\tilde G_t$ a sketch of $d s_t / d \theta$ for the state that comes into step $t$, whose
    own derivative is exact. A birth is pushed like a step. A member of the family is a sketch.
    """

    window: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def sketch(self) -> AbstractSketch:
        """How this member keeps the influence."""

    def __check_init__(self):
        check_count(num_workers=self.num_workers, window=self.window)

    def num_windows(self, horizon: int) -> int:
        return -(-horizon // self.window)

    @property
    def num_rows(self) -> int:
        return self.num_workers

    def num_sequential_steps(self, horizon: int) -> int:
        return min(self.window, horizon)

    def num_warmup_windows(self, horizon: int) -> int:
        return self.num_windows(horizon) - 1

    def target(self, horizon: int) -> Target:
        return Target()

    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return EvenPhases().draw(self.num_workers, num_windows, key)

    def _enlist(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        trajectory = engine.start(params, rows.repeat(key, 1))
        state, _ = rows.split_floats(rows.arm(trajectory.state, 0))
        if not jax.tree.leaves(state):
            raise ValueError(
                f"{type(self).__name__} carries the influence of the parameters on the state, and "
                "needs a state with floating point numbers; this one has none: use BPTT or NRES"
            )
        blank = self.sketch.blank(state, params)
        return enlist(key, self.num_workers, self.num_windows(engine.horizon), trajectory, blank)

    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        W = min(self.window, engine.horizon)
        incoming = workers.trajectories
        roster = workers.roster(engine)
        newborn, birth = roster.newborn, roster.birth
        still = rows.repeat(rows.zeros_like(params), birth.size)
        may_freeze = not engine.fixed_length or engine.horizon % W > 0

        def give_birth(carried):
            trajectories, sketch = carried
            keys = workers.data_keys(birth)
            start = lambda _, shift: (engine.start(params, keys, shift), None)
            state, _ = rows.split_floats(rows.arm(trajectories.state, 0))
            blank = self.sketch.blank(state, params)
            born, _, step = linearise(start, trajectories, still)
            signs = _sketch_keys(workers.noise_key, birth, jnp.zeros_like(birth))
            pushed = self.sketch.push(blank, step, signs, params)
            born = engine.shorten(born, birth)
            return choose(newborn, born, trajectories), rows.where(newborn, pushed, sketch)

        def advance(carry, _):
            trajectories, sketch, moment, total = carry
            unroll = lambda before, shift: engine.unroll(params, before, 1, shift)
            after, losses, step = linearise(unroll, trajectories, still)
            state, direct = step.backward(None, jnp.ones_like(losses[0]))
            pulled = self.sketch.pull(sketch, state, params)
            found = jax.tree.map(lambda *xs: sum(xs), moment, direct, pulled)
            # The step of a frozen row counts for nothing, and its derivative need not exist.
            moment = rows.where(trajectories.over[0], moment, found) if may_freeze else found
            signs = _sketch_keys(workers.noise_key, birth, trajectories.t + 1)
            sketch = self.sketch.push(sketch, step, signs, params)
            return (after, sketch, moment, total + losses), None

        start, sketch = jax.lax.cond(
            jnp.any(newborn), give_birth, lambda carried: carried, (incoming, workers.carried)
        )
        none = jnp.zeros(incoming.over.shape, jnp.result_type(float))
        carry = (start, sketch, still, none)
        (after, sketch, moment, losses), _ = jax.lax.scan(advance, carry, length=W)
        healthy = roster.running & jnp.isfinite(losses[0]) & rows.all_finite(moment)
        moment = rows.total(rows.scale(roster.share, moment), healthy)
        found = tally(roster, start, after, losses, moment, healthy)
        return found, workers.after(roster, healthy, after, sketch)


def linearise(
    run: Callable[..., tuple[Trajectories, Any]], before: Trajectories, still: WorkerTree
) -> tuple[Trajectories, Any, LinearStep]:
    """The trajectories and losses after `run(trajectories, shift)`, and its derivative."""
    state, rest = rows.split_floats(before.state)

    def floats(state, shift):
        joined = eqx.tree_at(lambda x: x.state, before, eqx.combine(state, rest))
        after, losses = run(joined, shift)
        after_state, after_rest = rows.split_floats(after.state)
        return (after_state, losses), (after, after_rest)

    primals = (state, rows.arms(still))
    (after_state, losses), push, (after, after_rest) = jax.linearize(floats, *primals, has_aux=True)
    transpose = jax.linear_transpose(push, *primals)

    def forward(state, shift):
        moved, _ = push(rows.arms(state), rows.arms(shift))
        return rows.arm(moved, 0)

    def backward(state, loss):
        state = rows.zeros_like(after_state) if state is None else rows.arms(state)
        return rows.arm(transpose((state, None if losses is None else rows.arms(loss))), 0)

    after = eqx.tree_at(lambda x: x.state, after, eqx.combine(after_state, after_rest))
    return after, losses, LinearStep(forward, backward)


def _sketch_keys(key: RandomKey, birth: Clocks, index: Clocks):
    return jax.vmap(ft.partial(numbered, key))(birth, index)
