"""The baselines of learned optimizers, and the training runs that are compared."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from .._custom_types import RandomKey, Scalar
from ..problems.learned_optimizer import Task

MOMENTUM = 0.9
_HALF_DECADES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
_POINTS = 50


class Baseline(NamedTuple):
    """An optimizer that needs a learning rate, and the rates that it is tried with."""

    make: Callable[[Any], optax.GradientTransformation]
    rates: tuple[float, ...]


def _sgd(rate: Any) -> optax.GradientTransformation:
    return optax.sgd(rate, momentum=MOMENTUM)


def _adam(rate: Any) -> optax.GradientTransformation:
    return optax.adam(rate)


BASELINES = {
    "Adam": Baseline(_adam, _HALF_DECADES[:9]),
    "momentum SGD": Baseline(_sgd, _HALF_DECADES[2:]),
}


def measured_steps(num_steps: int) -> np.ndarray:
    """The steps after which losses are looked at."""
    every = -(-num_steps // _POINTS)
    return np.minimum(np.arange(every, num_steps + every, every), num_steps)


@eqx.filter_jit
def losses_while_training(
    task: Task,
    make: Callable[[Scalar], optax.GradientTransformation],
    num_steps: int,
    rate: Float[Array, ""],
    key: RandomKey,
    only_end: Bool[Array, ""],
) -> Float[Array, " points"]:
    """The losses of a training run from fresh weights, before the first step and now and then.

    They are of all examples held out, or of all to train on if there are none. With `only_end` all
    but the last are NaN.
    """
    model, data = task.model, task.data
    weights_key, batches_key = jax.random.split(key)
    transformation, weights = make(rate), model.init(weights_key)

    def judge(weights):
        if data.valid is None:
            loss = model.loss(weights, data.train)
        else:
            loss = model.loss_held_out(weights, data.valid)
        return jnp.asarray(loss, float)

    def step(t, before):
        weights, state = before
        batch = data.draw_train(jax.random.fold_in(batches_key, t))
        gradients = jax.grad(model.loss)(weights, batch)
        updates, state = transformation.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    def part(before, ends):
        first, end = ends
        after = jax.lax.fori_loop(first, end, step, before)
        is_wanted = ~only_end | (end == num_steps)
        return after, jax.lax.cond(is_wanted, judge, lambda _: jnp.full((), jnp.nan), after[0])

    ends = jnp.asarray(measured_steps(num_steps))
    starts = jnp.append(0, ends[:-1])
    before = weights, transformation.init(weights)
    _, losses = jax.lax.scan(part, before, (starts, ends))
    return jnp.append(judge(weights), losses)
