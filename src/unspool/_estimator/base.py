"""What every estimator is: state in, estimate and state out."""

import abc
import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import (
    IntScalar,
    Params,
    RandomKey,
    RowLosses,
    Scalar,
    WorkerMask,
    WorkerValues,
)
from .._engine import AbstractEngine, AnyEngine, Trajectories, as_engine
from .._programs import call_known_program, call_program
from .._results import RESULTS
from .._target import Target
from .workers import Workers, warm_up

EstimatorState = Workers | tuple[Workers, ...]
"""The workers of one problem, or those of each part of a `JointEngine`."""


class Estimate(eqx.Module):
    """One estimate of a gradient.

    - `grad`: a tree like the parameters, ready for optax.
    - `loss`: mean loss per step of the rows used; NaN if there are none.
    - `result`: a member of `RESULTS`.
    - `stats`: scalars: `grad_norm`; `dropped`, workers left out; `useful_steps`, problem steps
      advanced in running episodes; `episodes`, episodes that began; and, for perturbed
      estimators, `slope_std`, the standard deviation of the directional derivatives.
    """

    grad: PyTree[Float[Array, "..."]]
    loss: Scalar
    result: RESULTS
    stats: dict[str, Float[Array, ""] | Int[Array, ""]]


class Tally(eqx.Module):
    """Sums over workers, of which an estimate is made; those of other workers add to them.

    - `moment`: gradients, `loss`: losses, `steps`: steps, all of healthy workers;
    - `healthy`, `dropped`: workers;
    - `useful_steps`, `episodes`: steps taken and episodes begun, by all;
    - `slopes`: directional derivatives and their squares, of healthy workers.
    """

    moment: Params
    loss: Scalar
    steps: IntScalar
    healthy: IntScalar
    dropped: IntScalar
    useful_steps: IntScalar
    episodes: IntScalar
    slopes: tuple[Scalar, Scalar] | None


class AbstractEstimator(eqx.Module):
    """Estimates the gradient of a problem's loss from partial unrolls.

    An estimator holds settings; what changes is in the state that `init` makes and `estimate`
    returns. Wherever an engine is wanted, a problem is taken too.
    """

    num_workers: eqx.AbstractVar[int]
    estimand: eqx.AbstractClassVar[str]

    @property
    @abc.abstractmethod
    def needs_derivatives(self) -> bool:
        """Whether steps are differentiated, which an engine may not allow."""

    @property
    def needs_copies(self) -> bool:
        """Whether trajectories go on from the state of another, which not all simulators allow."""
        return False

    @abc.abstractmethod
    def num_windows(self, horizon: int) -> int:
        """Estimates in one episode of `horizon` steps."""

    @property
    @abc.abstractmethod
    def num_rows(self) -> int:
        """Trajectories that run side by side: workers times arms."""

    @abc.abstractmethod
    def num_sequential_steps(self, horizon: int) -> int:
        """Problem steps of one estimate that have to follow one another."""

    def num_steps(self, horizon: int) -> int:
        """Problem steps that one estimate runs, all rows together."""
        return self.num_rows * self.num_sequential_steps(horizon)

    @abc.abstractmethod
    def num_warmup_windows(self, horizon: int) -> int:
        """Windows that `init` runs so that workers start at different places."""

    @abc.abstractmethod
    def target(self, horizon: int) -> Target:
        """The gradient that the mean of the estimates equals."""

    @abc.abstractmethod
    def _enlist(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        """Workers at the end of an episode, so that their first window gives birth to them."""

    @abc.abstractmethod
    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        """One window of every worker at hand. Those that fail are left out and start anew."""

    @abc.abstractmethod
    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        """How many windows into the episode each worker starts."""

    def init(self, engine: AnyEngine, params: Params, *, key: RandomKey) -> EstimatorState:
        """The state before the first estimate: workers spread over the episode.

        **Arguments:**

        - `engine`: an engine, or a problem for the local one.
        - `params`: the parameters that the workers' first steps are run with.
        - `key`: the one source of randomness of all estimates that follow.

        **Raises:** `ValueError` if the engine cannot run these parameters, or cannot be
        differentiated and the estimator needs it.
        """
        engine, params = self._enter(engine, params)
        first, *others = engine.parts
        if not others:
            return call_program(type(self)._init, self, first, params, key)
        pairs = zip(engine.parts, jax.random.split(key, len(engine.parts)), strict=True)
        return tuple(
            call_program(type(self)._init, self, part, params, part_key) for part, part_key in pairs
        )

    def _init(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        workers = self._enlist(engine, params, key)
        if self.num_warmup_windows(engine.horizon) == 0:
            return workers
        phases = self._draw_phases(self.num_windows(engine.horizon), key)
        advance = lambda workers: self._advance(engine, params, workers)[1]
        return warm_up(advance, workers, phases, self.num_warmup_windows(engine.horizon))

    def estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        """One estimate at `params`, and the state for the next. A pure function.

        It is compiled once and used again while the same problem and estimator are passed, and
        what these read is as it was: arrays, globals and closures, methods. A file that `step`
        itself reads is not noticed here, as it is by `train`.
        """
        return call_known_program(_estimate, (self, engine), params, state)

    def _estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        engine, params = self._enter(engine, params)
        workers = (state,) if isinstance(state, Workers) else state
        pairs = zip(engine.parts, workers, strict=True)
        advanced = [self._advance(part, params, each) for part, each in pairs]
        found, moved = zip(*advanced, strict=True)
        found = ft.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), found)
        state = moved[0] if isinstance(state, Workers) else moved
        horizon = engine.horizon
        return conclude(found, horizon / self.num_windows(horizon)), state

    def _enter(self, engine: AnyEngine, params: Params):
        engine = as_engine(engine)
        if self.needs_derivatives and not engine.differentiable:
            raise ValueError(
                f"{type(self).__name__} needs derivatives, which {type(engine).__name__} has not; "
                "estimators that would work: FullES, TruncatedES, PES, GPES, NRES, ESSingle"
            )
        if self.needs_copies and not engine.copies_states:
            raise ValueError(
                f"{type(self).__name__} has trajectories go on from the state of another, and "
                "these simulators keep their state to themselves; estimators that would work: "
                "FullES, PES, GPES, NRES, ESSingle"
            )
        engine.check(params)
        return engine, rows.strong(params)


def _estimate(estimator: AbstractEstimator, *arguments):
    return estimator._estimate(*arguments)


def tally(
    start: Trajectories,
    after: Trajectories,
    losses: RowLosses,
    moment: Params,
    healthy: WorkerMask,
    slope: WorkerValues | None = None,
) -> Tally:
    """What workers found in a window.

    `losses` are each row's sums over the window, `moment` is the sum of the healthy workers'
    gradients, `slope` what each worker's arms say of it, if they do.
    """
    num_arms = losses.shape[0]
    elapsed = after.t - start.t
    sums = lambda x: jnp.sum(x, where=healthy)
    return Tally(
        moment=moment,
        loss=sums(losses),
        steps=num_arms * sums(elapsed),
        healthy=jnp.sum(healthy),
        dropped=jnp.sum(~healthy),
        useful_steps=num_arms * jnp.sum(elapsed),
        episodes=jnp.sum(start.t == 0),
        slopes=None if slope is None else (sums(slope), sums(slope**2)),
    )


def conclude(tally: Tally, steps_per_window: float) -> Estimate:
    """The mean over the healthy workers as an estimate."""
    per_step = 1 / (steps_per_window * jnp.maximum(tally.healthy, 1))
    grad = jax.tree.map(lambda x: (x * per_step).astype(x.dtype), tally.moment)
    one = rows.repeat(grad, 1)
    outcome = RESULTS.where(tally.dropped > 0, RESULTS.dropped_workers, RESULTS.successful)
    outcome = RESULTS.where(rows.all_finite(one)[0], outcome, RESULTS.nonfinite_gradient)
    outcome = RESULTS.where(tally.healthy == 0, RESULTS.all_workers_dropped, outcome)
    stats = {
        "grad_norm": rows.norm(one)[0],
        "dropped": tally.dropped,
        "useful_steps": tally.useful_steps,
        "episodes": tally.episodes,
    }
    if tally.slopes is not None:
        first, second = (x / tally.healthy for x in tally.slopes)
        stats["slope_std"] = jnp.sqrt(jnp.maximum(second - first**2, 0)) / steps_per_window
    return Estimate(grad, tally.loss / tally.steps, outcome, stats)
