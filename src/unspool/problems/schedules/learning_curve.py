"""The learning curve of a model with given hyperparameters."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._custom_types import KeyLike, Params, RandomKey
from ..._random import as_key
from .model_training import ModelTraining


class LearningCurve(NamedTuple):
    """Losses and accuracies of a training run, every so many steps.

    - `step`: steps made so far, from 0.
    - `loss`, `accuracy`: on all examples held out, or on all to train on if there are none;
      accuracies are NaN for a model without.
    """

    step: Int[Array, " points"]
    loss: Float[Array, " points"]
    accuracy: Float[Array, " points"]


def learning_curve(
    problem: ModelTraining, params: Params, *, key: KeyLike, every: int | None = None
) -> LearningCurve:
    """Trains a model with given hyperparameters from fresh weights, and returns its losses.

    The weights start from `init(key)`, and step `t` has the batch that `fold_in(key, t)` draws, so
    that a loop of anyone's can do the same.

    **Arguments:**

    - `problem`, `params`: what is trained, and with which hyperparameters.
    - `key`: the one source of randomness.
    - `every`: steps between points; by default a hundredth of the horizon. A last part that is
      shorter is left out.

    **Returns:** a `LearningCurve` of three arrays of shape `(points,)`: steps, losses and
    accuracies. The first point is that of the fresh weights.

    **Raises:** `ValueError` for `every` below 1 or above the horizon.

    **Example:**

    >>> from unspool.problems.schedules import Constant, Data, Model, ModelTraining, learning_curve
    >>> model = Model(lambda key: jnp.array(4.0), lambda w, batch: jnp.mean((w - batch) ** 2))
    >>> space = {"learning_rate": Constant(0.25)}
    >>> problem = ModelTraining(model, Data(jnp.zeros(3)), optax.sgd, space, horizon=3)
    >>> key = jax.random.key(0)
    >>> curve = learning_curve(problem, problem.init_params(key=key), key=key)
    >>> [round(float(loss), 2) for loss in curve.loss]
    [16.0, 4.0, 1.0, 0.25]
    """
    every = every or max(1, problem.horizon // 100)
    if not 1 <= every <= problem.horizon:
        raise ValueError(f"every must be from 1 to {problem.horizon}, got {every}")
    return _curve(problem, jax.tree.map(jnp.asarray, params), as_key(key), every)


@eqx.filter_jit
def _curve(problem: ModelTraining, params: Params, key: RandomKey, every: int) -> LearningCurve:
    model, data = problem.model, problem.data
    judged_on = data.train if data.valid is None else data.valid
    judge_loss = model.loss if data.valid is None else model.loss_held_out

    def judge(weights, t):
        _, hyper = problem.hyper(params, t)
        accuracy = (
            jnp.nan if model.accuracy is None else model.accuracy(weights, judged_on, **hyper)
        )
        return judge_loss(weights, judged_on, **hyper), jnp.asarray(accuracy, float)

    def step(state, t):
        batch = data.draw_train(jax.random.fold_in(key, t))
        after = problem.update(params, state, t, batch)
        return (after.weights, after.optimizer), None

    def segment(state, start):
        state, _ = jax.lax.scan(step, state, start + jnp.arange(every))
        return state, judge(state[0], start + every - 1)

    weights = model.init(key)
    start = weights, problem.optimizer(problem.hyper(params, 0)[0]).init(weights)
    steps = jnp.arange(0, problem.horizon - every + 1, every)
    _, later = jax.lax.scan(segment, start, steps)
    loss, accuracy = jax.tree.map(
        lambda first, rest: jnp.concatenate([jnp.atleast_1d(first), rest]), judge(weights, 0), later
    )
    return LearningCurve(jnp.append(0, steps + every), loss, accuracy)
