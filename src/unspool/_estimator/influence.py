"""Kernel C: a sketch of how the parameters have moved the state, carried forward in time."""

import abc
import functools as ft
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, Params, RandomKey, RowLosses
from .._engine import AbstractEngine, Trajectories
from .._immediate import Told
from .._random import numbered
from .._target import Target
from .base import AbstractEstimator
from .estimate import GradientSums, WindowRun, WindowSums, accumulate
from .plan import Plan, plan_whole_windows
from .roster import Roster
from .trajectories import choose, with_state
from .workers import Origin, Workers, begin_workers

WorkerTree = PyTree[Float[Array, "workers ..."]]


class LinearStep(NamedTuple):
    """One step, or a reset, and its derivative, worker by worker. `None` is for zeros.

    - `after`: the state that it makes.
    - `forward(state, shift)`: how the next state moves with the incoming one and the parameters.
    - `backward(state, loss)`: what a weighting of the next state and the loss says of the
      incoming state and the parameters.
    """

    after: PyTree[Any]
    forward: Callable[[WorkerTree | None, WorkerTree | None], WorkerTree]
    backward: Callable[
        [WorkerTree | None, Float[Array, " workers"] | None], tuple[WorkerTree, WorkerTree]
    ]


class AbstractSketch(eqx.Module):
    """A representation of the derivative of each worker's state with respect to the parameters."""

    def view(self, engine: AbstractEngine) -> AbstractEngine:
        """The engine, with states that tell of steps what this sketch must know of them."""
        return engine

    @abc.abstractmethod
    def blank(self, state: WorkerTree, params: Params) -> PyTree[Any]:
        """The sketch of a derivative that is zero."""

    @abc.abstractmethod
    def pull(self, sketch: PyTree[Any], cotangent: WorkerTree, params: Params) -> WorkerTree:
        """Vector-Jacobian product of a cotangent of the state through the sketch."""

    @abc.abstractmethod
    def push(self, sketch: PyTree[Any], step: LinearStep, keys: Any, params: Params) -> PyTree[Any]:
        """The sketch one step later."""


class AbstractInfluence(AbstractEstimator):
    r"""The kernel of estimators that carry an influence forward.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N} \sum_{t \in \text{window}}
       \Big( \frac{\partial \ell_t}{\partial s_t} \tilde G_t +
       \frac{\partial \ell_t}{\partial \theta} \Big)^{(i)} $$

    with $\tilde G_t$ a sketch of $d s_t / d \theta$ for the state that comes into step $t$, whose
    own derivative is exact. A reset is pushed like a step. A member of the family is a sketch.
    """

    window: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def sketch(self) -> AbstractSketch:
        """The representation in which this member keeps the influence."""

    def __check_init__(self):
        check_count(num_workers=self.num_workers, window=self.window)

    def plan(self, horizon: int) -> Plan:
        plan = plan_whole_windows(self, horizon, Target())
        return plan._replace(extra_stats=("variance",) * (self.num_workers > 1))

    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        trajectory = self.sketch.view(engine).start(params, rows.repeat(key, 1))
        state, _ = split_state(rows.arm(trajectory.arms.state, 0))
        if not jax.tree.leaves(state):
            raise ValueError(
                f"{type(self).__name__} carries the influence of the parameters on the state, and "
                "needs a state with floating point numbers; this one has none: use BPTT or NRES"
            )
        blank = rows.arms(self.sketch.blank(state, params))
        return begin_workers(key, self.plan(engine.horizon), Origin(trajectory, blank))

    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        engine = self.sketch.view(engine)
        window = InfluenceWindow(self.sketch, engine, params, workers, workers.roster(engine))
        return window.run(self.plan(engine.horizon).num_sequential_steps)


class Influenced(NamedTuple):
    """Trajectories, and the sketch of how the parameters have moved them."""

    trajectories: Trajectories
    sketch: PyTree[Any]


class StepCarry(NamedTuple):
    """The carry from one step to the next: rows, and sums of each worker's gradient and losses."""

    rows: Influenced
    gradient: WorkerTree
    losses: RowLosses


class InfluenceWindow(NamedTuple):
    """A window of the workers at hand: who takes part, and with what."""

    sketch: AbstractSketch
    engine: AbstractEngine
    params: Params
    workers: Workers
    roster: Roster

    def run(self, num_steps: int) -> tuple[WindowSums, Workers]:
        """Sums over the workers, and the workers after the window."""
        workers, roster = self.workers, self.roster
        before = Influenced(workers.trajectories, rows.arm(workers.carried, 0))
        start = jax.lax.cond(
            jnp.any(roster.reset), lambda: self._reset_rows(before), lambda: before
        )
        none = jnp.zeros(workers.trajectories.arms.done.shape, jnp.result_type(float))
        may_freeze = not self.engine.fixed_length or self.engine.horizon % num_steps > 0
        step = lambda carry, _: (self._step(carry, may_freeze), None)
        carry = StepCarry(start, self._still(), none)
        (after, gradient, losses), _ = jax.lax.scan(step, carry, length=num_steps)
        finite = jnp.isfinite(losses)
        healthy = roster.running & finite & rows.arms(rows.all_finite(gradient))
        shares = rows.arms(rows.scale(roster.share, gradient))
        gradients = GradientSums.of(shares, healthy, roster, workers.num_workers)
        run = WindowRun(start.trajectories, after.trajectories, losses, finite, healthy)
        sums = accumulate(roster, workers.layout, run, gradients)
        sketch = rows.arms(after.sketch)
        return sums, workers.after(roster, healthy, after.trajectories, sketch)

    def _step(self, carry: StepCarry, may_freeze: bool) -> StepCarry:
        """The newest step exactly, what came before it through the sketch."""
        (trajectories, sketch), gradient, total = carry
        unroll = lambda before, shift: self.engine.unroll(self.params, before, 1, shift)
        after, losses, step = linearize(unroll, trajectories, self._still())
        state, direct = step.backward(None, jnp.ones_like(rows.arm(losses, 0)))
        pulled = self.sketch.pull(sketch, state, self.params)
        found = jax.tree.map(lambda *xs: sum(xs), gradient, direct, pulled)
        # The step of a frozen row counts for nothing, and its derivative need not exist.
        frozen = rows.arm(trajectories.arms.done, 0)
        gradient = rows.select(frozen, gradient, found) if may_freeze else found
        keys = self._sketch_keys(trajectories.clock.t + 1)
        sketch = self.sketch.push(sketch, step, keys, self.params)
        return StepCarry(Influenced(after, sketch), gradient, total + losses)

    def _reset_rows(self, before: Influenced) -> Influenced:
        """New episodes begun: a reset is pushed like a step."""
        reset, episode, params = self.roster.reset, self.roster.episode, self.params
        keys = self.workers.data_keys(episode)
        start = lambda _, shift: (self.engine.start(params, keys, shift), None)
        state, _ = split_state(rows.arm(before.trajectories.arms.state, 0))
        blank = self.sketch.blank(state, params)
        new, _, step = linearize(start, before.trajectories, self._still())
        pushed = self.sketch.push(blank, step, self._sketch_keys(jnp.zeros_like(episode)), params)
        new = self.engine.shorten(new, episode)
        return Influenced(
            choose(reset, new, before.trajectories), rows.select(reset, pushed, before.sketch)
        )

    def _still(self) -> WorkerTree:
        return rows.repeat(rows.zeros_like(self.params), self.roster.episode.size)

    def _sketch_keys(self, index: Clocks) -> Key[Array, " workers"]:
        key = self.workers.noise_key
        return jax.vmap(ft.partial(numbered, key))(self.roster.episode, index)


def split_state(state: PyTree[Any]) -> tuple[PyTree[Any], PyTree[Any]]:
    """The part of a state that is differentiated, and the rest with all that it tells."""
    is_told = lambda x: isinstance(x, Told)
    choose = lambda x: not is_told(x) and eqx.is_inexact_array(x)
    return eqx.partition(state, jax.tree.map(choose, state, is_leaf=is_told))


def linearize(
    run: Callable[..., tuple[Trajectories, Any]], before: Trajectories, still: WorkerTree
) -> tuple[Trajectories, Any, LinearStep]:
    """The trajectories and losses after `run(trajectories, shift)`, and its derivative."""
    state, rest = split_state(before.arms.state)

    def floats(state, shift):
        after, losses = run(with_state(before, eqx.combine(state, rest)), shift)
        after_state, after_rest = split_state(after.arms.state)
        return (after_state, losses), (after, after_rest)

    primals = (state, rows.arms(still))
    (after_state, losses), push, (after, after_rest) = jax.linearize(floats, *primals, has_aux=True)
    transpose = jax.linear_transpose(push, *primals)

    or_zeros = lambda given, like: rows.zeros_like(like) if given is None else rows.arms(given)

    def forward(state, shift):
        moved, _ = push(*map(or_zeros, (state, shift), primals))
        return rows.arm(moved, 0)

    def backward(state, loss):
        cotangents = (
            or_zeros(state, after_state),
            None if losses is None else or_zeros(loss, losses),
        )
        return rows.arm(transpose(cotangents), 0)

    whole = eqx.combine(after_state, after_rest)
    step = LinearStep(rows.arm(whole, 0), forward, backward)
    return with_state(after, whole), losses, step
