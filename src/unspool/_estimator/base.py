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
    KeyLike,
    Params,
    RandomKey,
    RowLosses,
    Scalar,
    WorkerMask,
    WorkerValues,
)
from .._engine import AbstractEngine, AnyEngine, Trajectories, as_engine, settle
from .._engine.completed import complete
from .._params import split, strong
from .._programs import call_known_program, call_program
from .._random import as_key, part_keys
from .._results import RESULTS
from .._target import Target
from .workers import Roster, Workers, warm_up

EstimatorState = Workers | tuple[Workers, ...]
"""The workers of one problem, or those of each part of a `JointEngine`."""


class Estimate(eqx.Module):
    """One estimate of a gradient.

    - `grad`: a tree like the parameters, ready for optax; `None` where nothing is trained.
    - `loss`: mean loss per step of the rows used; NaN if there are none.
    - `result`: a member of `RESULTS`.
    - `stats`: scalars: `grad_norm`; `dropped`, workers that failed in this window; `waiting`,
      workers that failed in an earlier window of an episode that is not at its end yet;
      `useful_steps`, problem steps run in episodes that were not over; `episodes`, episodes that
      began; and, for perturbed estimators, `slope_std`, the standard deviation of the
      directional derivatives.
    """

    grad: PyTree[Float[Array, "..."]]
    loss: Scalar
    result: RESULTS
    stats: dict[str, Float[Array, ""] | Int[Array, ""]]


class Tally(eqx.Module):
    """Sums over workers, of which an estimate is made; those of other workers add to them.

    - `moment`, `loss`, `steps`, `share`: gradients, losses, steps and ones of healthy workers,
      times what each counts for; all shares add up to one, so that sums stay as small as means.
    - `reached`: what those count for that came into the window, healthy or not.
    - `healthy`, `lost`, `undefined`: workers by whether losses and derivatives are finite.
    - `useful_steps`, `episodes`: steps run and episodes begun, by all.
    - `slopes`: directional derivatives and their squares, of healthy workers.
    """

    moment: Params
    loss: Scalar
    steps: Scalar
    share: Scalar
    reached: Scalar
    healthy: IntScalar
    lost: IntScalar
    undefined: IntScalar
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
        """One window of every worker at hand. Those that fail are left out."""

    @abc.abstractmethod
    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        """How many windows into the episode each worker starts."""

    def init(self, engine: AnyEngine, params: Params, *, key: KeyLike) -> EstimatorState:
        """The state before the first estimate: workers spread over the episode.

        **Arguments:**

        - `engine`: an engine, or a problem for the local one.
        - `params`: the parameters that the workers' first steps are run with.
        - `key`: the one source of randomness of all estimates that follow.

        **Raises:** `ValueError` if the engine cannot run these parameters, or cannot be
        differentiated and the estimator needs it.
        """
        engine, params = self._enter(engine, params)
        pairs = zip(engine.parts, part_keys(as_key(key), len(engine.parts)), strict=True)
        start = lambda part, key: call_program(type(self)._init, self, part, params, key)
        workers = [settle(part, start(part, part_key)) for part, part_key in pairs]
        return tuple(workers) if len(workers) > 1 else workers[0]

    def _init(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        workers = self._enlist(engine, params, key)
        if self.num_warmup_windows(engine.horizon) == 0:
            return workers
        phases = self._draw_phases(self.num_windows(engine.horizon), key)
        advance = lambda workers: self._advance(engine, params, workers)[1]
        window = self.num_sequential_steps(engine.horizon)
        return warm_up(advance, workers, phases, window, self.num_warmup_windows(engine.horizon))

    def estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        """One estimate at `params`, and the state for the next. A pure function.

        It is compiled once and used again while the same problem and estimator are passed, and
        what these read is as it was: arrays, globals and closures, methods. A file that `step`
        itself reads is not noticed here, as it is by `train`.
        """
        found = call_known_program(_estimate, (self, engine), params, state)
        return settle(as_engine(engine), found)

    def _estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        engine, params = self._enter(engine, params)
        workers = (state,) if isinstance(state, Workers) else state
        pairs = zip(engine.parts, workers, strict=True)
        advanced = [self._advance(part, params, each) for part, each in pairs]
        window = self.num_sequential_steps(engine.horizon)
        moved = tuple(
            after.learn(before, window)
            for before, (_, after) in zip(workers, advanced, strict=True)
        )
        steps_per_window = engine.horizon / self.num_windows(engine.horizon)
        tallies = [tally for tally, _ in advanced]
        estimate = conclude(tallies, params, self.num_workers, steps_per_window)
        return estimate, moved[0] if isinstance(state, Workers) else moved

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
        trained, fixed = split(strong(params))
        return complete(engine, fixed), trained


def _estimate(estimator: AbstractEstimator, *arguments):
    return estimator._estimate(*arguments)


def tally(
    roster: Roster,
    start: Trajectories,
    after: Trajectories,
    losses: RowLosses,
    moment: Params,
    healthy: WorkerMask,
    slope: WorkerValues | None = None,
) -> Tally:
    """What workers found in a window.

    `losses` are each row's sums over the window, `moment` is the sum of the healthy workers'
    gradients times their shares, `slope` what each worker's arms say of it, if they do.
    """
    ran = after.taken - start.taken
    finite = jnp.all(jnp.isfinite(losses), axis=0)
    share = jnp.where(healthy, roster.share, 0)
    loss = jnp.where(healthy, jnp.sum(losses, axis=0), 0)
    sums = lambda x: jnp.sum(x, where=healthy)
    return Tally(
        moment=moment,
        loss=jnp.sum(share * loss),
        steps=jnp.sum(share * jnp.sum(ran, axis=0)),
        share=jnp.sum(share),
        reached=jnp.sum(roster.reached),
        healthy=jnp.sum(healthy),
        lost=jnp.sum(roster.running & ~finite),
        undefined=jnp.sum(roster.running & finite & ~healthy),
        useful_steps=jnp.sum(ran),
        episodes=jnp.sum(roster.newborn),
        slopes=None if slope is None else (sums(slope), sums(slope**2)),
    )


@rows.widening
def conclude(
    tallies: list[Tally], params: Params, num_workers: int, steps_per_window: float
) -> Estimate:
    """The mean over the healthy workers of a problem, and over problems, as an estimate."""

    def mean(tally):
        # Shares of healthy workers are scaled to those that came into the window. What is missing
        # from that one is by chance: it is zero on average, and stays.
        per_step = tally.reached / jnp.where(tally.healthy > 0, tally.share, 1) / steps_per_window
        return jax.tree.map(lambda x: x * per_step / len(tallies), tally.moment)

    grads = [mean(tally) for tally in tallies]
    grad = ft.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), grads)
    grad = jax.tree.map(lambda g, p: g.astype(p.dtype), grad, params)
    losses = jnp.stack([tally.loss / tally.steps for tally in tallies])
    one = rows.repeat(grad, 1)
    total = ft.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), tallies)
    outcome = RESULTS.where(total.undefined > 0, RESULTS.dropped_derivatives, RESULTS.successful)
    outcome = RESULTS.where(total.lost > 0, RESULTS.dropped_workers, outcome)
    outcome = RESULTS.where(rows.all_finite(one)[0], outcome, RESULTS.nonfinite_gradient)
    for tally in tallies:
        only_derivatives = (tally.undefined > 0) & (tally.lost == 0)
        nobody = RESULTS.where(
            only_derivatives, RESULTS.nonfinite_gradient, RESULTS.all_workers_dropped
        )
        outcome = RESULTS.where(tally.healthy == 0, nobody, outcome)
    stats = {
        "grad_norm": rows.norm(one)[0],
        "dropped": total.lost + total.undefined,
        "waiting": len(tallies) * num_workers - total.healthy - total.lost - total.undefined,
        "useful_steps": total.useful_steps,
        "episodes": total.episodes,
    }
    if total.slopes is not None:
        first, second = (x / total.healthy for x in total.slopes)
        stats["slope_std"] = jnp.sqrt(jnp.maximum(second - first**2, 0)) / steps_per_window
    return Estimate(grad, jnp.mean(losses), outcome, stats)
