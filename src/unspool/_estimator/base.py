"""The interface of every estimator: state in, estimate and state out."""

import abc
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import IntScalar, KeyLike, Params, RandomKey
from .._engine import AbstractEngine
from .._joint import AnyProblem, JointProblem, as_joint
from .._params import check_params, split, strip_weak_type
from .._programs import call_known_program, is_inside, known_program
from .._random import as_key, part_keys
from .._show import show
from .estimate import Estimate, ProblemSums, WindowSums, finalize
from .plan import Plan
from .sigma import AbstractSigma, MadeUpdate
from .workers import Workers

_IN_64_BITS = 'in 64 bits: jax.config.update("jax_enable_x64", True)'

EstimatorState = tuple[Workers, ...]
"""The workers of each problem: one entry, but for a `JointProblem`."""


class AbstractEstimator(eqx.Module):
    """Estimates the gradient of a problem's loss from partial unrolls.

    An estimator holds settings; what changes is in the state that `init` makes and `estimate`
    returns. Wherever an engine is wanted, a problem is taken too.
    """

    num_workers: eqx.AbstractVar[int]
    estimand: eqx.AbstractClassVar[str]

    __repr__ = show

    @abc.abstractmethod
    def plan(self, horizon: int) -> Plan:
        """The facts of this estimator for episodes of `horizon` steps."""

    @abc.abstractmethod
    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        """Workers at the end of an episode, so that their first window begins one."""

    @abc.abstractmethod
    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        """One window of every worker at hand. Those that fail are left out."""

    def check_start(self, problem: AnyProblem, params: Params, key: KeyLike) -> None:
        """Warns of what only shows with the parameters that a training starts from; `train`
        calls it."""

    @property
    def scale(self) -> AbstractSigma | None:
        """The scale of the noise; `None` where nothing is perturbed."""
        return None

    def learn(self, workers: Workers, sums: WindowSums) -> Workers:
        """The workers with what the sums over all of them add to their knowledge."""
        return workers

    def init(self, problem: AnyProblem, params: Params, *, key: KeyLike) -> EstimatorState:
        """The state before the first estimate: workers spread over the episode.

        **Arguments:**

        - `problem`: a problem, an engine that runs one, or a `JointProblem`.
        - `params`: the parameters that the workers' first steps are run with.
        - `key`: the one source of randomness of all estimates that follow.

        Spreading many workers over a long episode can take a while; Ctrl-C stops it between two
        windows. The program is that of `estimate`, and is used again in the same way.

        **Raises:** `ValueError` if the engine cannot run these parameters, or cannot be
        differentiated and the estimator needs it, or if an estimate has more steps than can be
        counted.
        """
        state = self.init_workers(problem, params, key)
        joint = as_joint(problem)
        count = self.plan(joint.horizon).num_warmup_windows
        if is_inside((params, state)):
            spread = lambda _, state: _estimate(self, problem, params, state)[1]
            return jax.lax.fori_loop(0, count, spread, state)
        if count > 0:
            program = known_program(_estimate, (self, problem), params, state)
            for _ in range(count):
                _, state = joint.settle(program(self, problem, params, state))
        return state

    def init_workers(self, problem: AnyProblem, params: Params, key: KeyLike) -> EstimatorState:
        """As `init`, before the workers are spread.

        As many estimates as there are windows of warming up do that, and are to be thrown away.
        """
        check_params(params)
        return call_known_program(_init_parts, (self, problem), params, as_key(key))

    def estimate(
        self, problem: AnyProblem, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        """One estimate at `params`, and the state for the next. A pure function.

        It is compiled once and used again while the same problem and estimator are passed, and
        what these read is as it was: arrays, globals and closures, methods. A file that `step`
        itself reads is not noticed here, as it is by `train`.
        """
        found = call_known_program(_estimate, (self, problem), params, state)
        return as_joint(problem).settle(found)

    def current_sigma(self, state: EstimatorState) -> PyTree[Any]:
        """The scale of the noise that is drawn now, as a number or a tree like the parameters;
        `None` where nothing is perturbed."""
        if self.scale is None:
            return None
        return self.scale.at(self.scale.stamp(state[0].learned.sigma, _next_update(state)))

    def current_pace(self, state: EstimatorState) -> PyTree[Any]:
        """The scale that steps of `scale_by_sigma` follow, as `current_sigma`."""
        if self.scale is None:
            return None
        return self.scale.pace(state[0].learned.sigma, _next_update(state))

    def after_update(self, state: EstimatorState, made: MadeUpdate) -> EstimatorState:
        """The state once the parameters have been updated, from which a scale may follow."""
        scale = self.scale
        if scale is None or not scale.learns:
            return state

        def learn(workers):
            sigma = scale.after_update(workers.learned.sigma, made)
            return replace(workers, learned=workers.learned._replace(sigma=sigma))

        return tuple(map(learn, state))


def _next_update(state: EstimatorState) -> IntScalar:
    """The number of the next update. What is drawn during warm-up has the scale of the first."""
    return jnp.maximum(state[0].update, 0)


def _enter(
    estimator: AbstractEstimator, problem: AnyProblem, params: Params
) -> tuple[JointProblem, Params]:
    """The problems as the estimator sees them, and the part of the parameters that is trained."""
    joint = as_joint(problem)
    plan = estimator.plan(joint.horizon)
    for engine in joint.engines:
        _check_able(estimator, plan, engine)
    joint.check(params)
    trained, fixed = split(strip_weak_type(params))
    _check_counts(joint, plan)
    return joint.complete(fixed), trained


def _check_able(estimator: AbstractEstimator, plan: Plan, engine: AbstractEngine) -> None:
    if plan.needs_derivatives and not engine.differentiable:
        raise ValueError(
            f"{type(estimator).__name__} needs derivatives, which {type(engine).__name__} has not; "
            "estimators that would work: FullES, TruncatedES, PES, GPES, NRES, ESSingle"
        )
    if plan.needs_copies and not engine.copies_states:
        raise ValueError(
            f"{type(estimator).__name__} has trajectories go on from the state of another, and "
            "these simulators keep their state to themselves; estimators that would work: "
            "FullES, PES, GPES, NRES, ESSingle"
        )


def _check_counts(joint: JointProblem, plan: Plan) -> None:
    """Raises `ValueError` if an estimate has more steps than an integer of JAX can count."""
    horizon, most = joint.horizon, jnp.iinfo(jnp.result_type(int)).max
    window, steps = plan.num_sequential_steps, len(joint.engines) * plan.num_steps
    if steps > most:
        raise ValueError(
            f"an estimate may have at most {most} problem steps, got {steps} with "
            f"num_workers={plan.num_workers} and windows of {window} steps: have fewer "
            f"workers or shorter windows, or count {_IN_64_BITS}"
        )
    if plan.num_windows * window > most:
        raise ValueError(
            f"horizon must be at most {most - most % window} with windows of {window} steps, "
            f"got {horizon}: have a shorter one, or count {_IN_64_BITS}"
        )


def _init_parts(
    estimator: AbstractEstimator, problem: AnyProblem, params: Params, key: RandomKey
) -> EstimatorState:
    joint, params = _enter(estimator, problem, params)
    plan = estimator.plan(joint.horizon)

    def init_part(engine, key):
        plan.phases.check(plan.num_groups, plan.num_windows, engine.fixed_length)
        phases = plan.phases.draw(plan.num_groups, plan.num_windows, key)
        workers = estimator.init_part(engine, params, key)
        workers = workers.stagger(phases, plan.num_warmup_windows, plan.num_sequential_steps)
        return workers.on_ramp(engine, plan.num_sequential_steps) if plan.phases.ramps else workers

    keys = part_keys(key, len(joint.engines))
    return tuple(init_part(*each) for each in zip(joint.engines, keys, strict=True))


def _estimate(
    estimator: AbstractEstimator, problem: AnyProblem, params: Params, state: EstimatorState
) -> tuple[Estimate, EstimatorState]:
    joint, params = _enter(estimator, problem, params)
    plan = estimator.plan(joint.horizon)

    def advance_part(engine, before):
        sums, after = estimator.advance(engine, params, before)
        # Used first, deposited afterwards: what is learned owes nothing to this window.
        after = estimator.learn(after, sums)
        after, census = after.learn_survival(before, engine, plan.num_sequential_steps)
        if plan.phases.ramps:
            after = after.on_ramp(engine, plan.num_sequential_steps)
        return ProblemSums(sums, census), after

    pairs = zip(joint.engines, state, strict=True)
    found, state = zip(*[advance_part(*pair) for pair in pairs], strict=True)
    ran_out = jnp.any(jnp.stack([workers.ran_out for workers in state]))
    return finalize(list(found), params, plan, ran_out), state
