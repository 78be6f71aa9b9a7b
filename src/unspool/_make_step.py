"""Training as a pair of pure functions, and its state."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ._custom_types import BoolScalar, IntScalar, KeyLike, Params, RandomKey
from ._estimator import AbstractEstimator, Estimate
from ._estimator.base import EstimatorState
from ._estimator.estimate import shapes_of_stats
from ._estimator.plan import Plan
from ._estimator.sigma import MadeUpdate
from ._joint import AnyProblem, JointProblem, as_joint
from ._meter import Meter
from ._optimizer import (
    AnyOptimizer,
    Told,
    apply_optimizer,
    as_optimizer,
    evaluation_params,
    start_optimizer,
)
from ._params import Fixed, as_arrays, check_params, join, map_arrays, split
from ._programs import call_known_program, find_shapes
from ._random import as_key, seeded_key
from ._results import RESULTS
from ._show import one_line, show_tree

UNUSABLE = RESULTS.all_workers_dropped, RESULTS.counts_ran_out, RESULTS.nonfinite_gradient
"""Outcomes without an estimate to go on with, the worst first."""


class TrainState(eqx.Module):
    """The state of training: parameters, optimizer, workers, the number of updates made, and what
    they have shown of noise and lag.

    Its leaves are arrays, also where those of the parameters are not: `trained` are the real
    arrays of the parameters, with `None` elsewhere, and `fixed` the rest.
    """

    trained: Params
    optimizer: optax.OptState
    workers: EstimatorState
    update: IntScalar
    meter: Meter
    fixed: Fixed

    def __repr__(self) -> str:
        facts = {"update": self.update, "params": self.params}
        return one_line("TrainState", {name: show_tree(fact) for name, fact in facts.items()})

    @property
    def params(self) -> Params:
        """The parameters, of the tree in which training was given them."""
        return join(self.trained, self.fixed)

    @property
    def is_spread(self) -> BoolScalar:
        """True if an update is made next, and no window that spreads the workers."""
        return self.workers[0].update >= 0

    @property
    def recommended(self) -> Params:
        """Those that the optimizer recommends, where it trains others."""
        return join(evaluation_params(self.optimizer, self.trained), self.fixed)


def make_step(
    problem: AnyProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
) -> tuple[Callable[..., TrainState], Callable[[TrainState], tuple[TrainState, Estimate]]]:
    """Makes the two pure functions of a training loop: `init(params, *, key)` and `step(state)`.

    `step` returns the next state and the estimate it was made with. An estimate without a single
    healthy worker, with a gradient that is not finite, or made after counts have run out leaves
    parameters and optimizer as they were; its `result` says so.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing()
    >>> init, step = unspool.make_step(problem, unspool.BPTT(), optax.sgd(0.01))
    >>> state = init(jnp.array(0.5), key=jax.random.key(0))
    >>> state, estimate = jax.jit(step)(state)
    >>> print(f"{estimate.grad:.1f} {state.params:.3f}")
    35.7 0.143
    """
    joint = as_joint(problem)
    optimizer = as_optimizer(optimizer)
    plan = estimator.plan(joint.horizon)

    def init(params: Params, *, key: KeyLike) -> TrainState:
        params = as_arrays(map_arrays(jnp.array, params))
        workers = estimator.init(joint, params, key=key)
        return _join(estimator, plan, optimizer, params, workers)

    def step(state: TrainState) -> tuple[TrainState, Estimate]:
        estimate, workers = estimator.estimate(joint, state.params, state.workers)
        usable = jnp.all(jnp.stack([estimate.result != outcome for outcome in UNUSABLE]))
        usable = usable & state.is_spread
        told = Told(
            value=estimate.loss,
            stats=estimate.stats,
            sigma=estimator.current_sigma(state.workers),
            pace=estimator.current_pace(state.workers),
            num_windows=plan.num_windows,
        )
        moved = apply_optimizer(optimizer, estimate.grad, state.optimizer, state.trained, told)
        made = MadeUpdate(
            grad=estimate.grad,
            stats=told.stats,
            updates=moved.updates,
            params=moved.params,
            num_windows=plan.num_windows,
            ends_round=plan.ends_round(workers[0].update),
        )
        meter = state.meter.after(
            estimate, moved.params, told.sigma, state.update + 1, plan.num_windows
        )
        new = moved.params, moved.state, estimator.after_update(workers, made), meter
        choose = lambda new, old: old if new is old else jnp.where(usable, new, old)
        old = state.trained, state.optimizer, workers, state.meter
        trained, optimizer_state, workers, meter = jax.tree.map(choose, new, old)
        update = jnp.where(state.is_spread, state.update + 1, state.update)
        new_state = TrainState(trained, optimizer_state, workers, update, meter, state.fixed)
        return new_state, estimate

    return init, step


def begin(
    joint: JointProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    params: Params,
    key: KeyLike,
) -> TrainState:
    """The state before the workers are spread, which `step` of `make_step` does as well."""
    check_params(params)
    return call_known_program(_begin, (joint, estimator, optimizer), params, as_key(key))


def _begin(
    joint: JointProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    params: Params,
    key: RandomKey,
) -> TrainState:
    optimizer = as_optimizer(optimizer)
    params = as_arrays(map_arrays(jnp.array, params))
    workers = estimator.init_workers(joint, params, key)
    return _join(estimator, estimator.plan(joint.horizon), optimizer, params, workers)


def find_state_shape(
    joint: JointProblem, estimator: AbstractEstimator, optimizer: AnyOptimizer, params: Params
) -> TrainState:
    """The shapes and types of the state that `begin` returns, without what takes it long."""
    start = lambda params, key: begin(joint, estimator, optimizer, params, key)
    return find_shapes(start, params, jax.eval_shape(lambda: seeded_key(0)))


def _join(
    estimator: AbstractEstimator,
    plan: Plan,
    optimizer: optax.GradientTransformation,
    params: Params,
    workers: EstimatorState,
) -> TrainState:
    trained, fixed = split(params)
    told = Told(
        value=jax.ShapeDtypeStruct((), jnp.result_type(float)),
        stats=shapes_of_stats(plan),
        sigma=jax.eval_shape(lambda: estimator.current_sigma(workers)),
        pace=jax.eval_shape(lambda: estimator.current_pace(workers)),
        num_windows=plan.num_windows,
    )
    optimizer_state = start_optimizer(optimizer, trained, told)
    meter = Meter.of(trained, "variance" in plan.extra_stats)
    return TrainState(trained, optimizer_state, workers, jnp.zeros((), int), meter, fixed)


def begin_anew(
    problem: AnyProblem, estimator: AbstractEstimator, state: TrainState, *, key: KeyLike
) -> TrainState:
    """The state with new episodes, in place of those whose simulators are gone.

    What workers have learned together is kept.
    """
    key = jax.random.fold_in(as_key(key), state.update)
    workers = estimator.init(problem, state.params, key=key)
    pairs = zip(workers, state.workers, strict=True)
    anew = [replace(new, update=old.update, learned=old.learned) for new, old in pairs]
    return replace(state, workers=tuple(anew))
