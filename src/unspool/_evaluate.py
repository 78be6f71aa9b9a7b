"""How good parameters are: their loss without perturbations, on episodes never trained on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ._counts import as_count
from ._custom_types import Params, RandomKey, Scalar
from ._engine import AnyEngine, as_engine
from ._programs import call_program
from ._random import Purpose, stream


class Evaluation(NamedTuple):
    """The mean loss per step over `num_episodes` fresh episodes, and its standard error.

    The standard error is NaN for a single episode.
    """

    loss: Scalar
    standard_error: Scalar
    num_episodes: int


def evaluate(
    engine: AnyEngine,
    params: Params,
    *,
    key: RandomKey,
    num_episodes: int = 1,
) -> Evaluation:
    """The objective at unperturbed parameters: total loss over total length of fresh episodes.

    An episode that ends early counts with the length that it might have had. Of a `JointEngine` it
    is the mean over its problems.

    **Arguments:**

    - `engine`: an engine, or a problem for the local one.
    - `params`: the parameters to evaluate.
    - `key`: the episodes' randomness; never that of training, even with the same key.
    - `num_episodes`: episodes, run side by side; so many of every problem.

    **Raises:** `ValueError` if `num_episodes` is below 1 or the parameters do not fit.
    """
    num_episodes = as_count("num_episodes", num_episodes)
    engine = as_engine(engine)
    engine.check(params)
    found = [call_program(_evaluate, part, params, key, num_episodes) for part in engine.parts]
    losses, errors = (jnp.stack(values) for values in zip(*found, strict=True))
    error = jnp.sqrt(jnp.mean(errors**2) / len(found))
    return Evaluation(jnp.mean(losses), error, num_episodes)


def _evaluate(engine, params, key, num_episodes):
    keys = jax.random.split(stream(key, Purpose.EVALUATION), num_episodes)
    trajectories = engine.start(params, keys)
    _, losses = engine.unroll(params, trajectories, engine.horizon)
    losses = losses[0]
    length = jnp.mean(trajectories.end.astype(losses.dtype))
    loss = jnp.mean(losses) / length
    residual = losses - loss * trajectories.end
    spread = jnp.sqrt(jnp.sum(residual**2) / jnp.maximum(num_episodes - 1, 1) / num_episodes)
    return loss, jnp.where(num_episodes > 1, spread / length, jnp.nan)
