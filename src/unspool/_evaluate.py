"""How good parameters are: their loss without perturbations, on episodes never trained on."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ._custom_types import KeyLike, Params, Scalar
from ._engine import AnyEngine, as_engine, settle
from ._random import Purpose, as_key, part_keys, stream


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
    key: KeyLike,
    num_episodes: int = 1,
) -> Evaluation:
    """The objective at unperturbed parameters: total loss over total length of fresh episodes.

    An episode that ends early counts with the length that it might have had. Of a `JointEngine` it
    is the mean over its problems, each on episodes of its own.

    **Arguments:**

    - `engine`: an engine, or a problem for the local one.
    - `params`: the parameters to evaluate.
    - `key`: the episodes' randomness; never that of training, even with the same key.
    - `num_episodes`: episodes, run side by side; so many of every problem.

    **Raises:** `ValueError` if `num_episodes` is below 1 or the parameters do not fit.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    engine = as_engine(engine)
    engine.check(params)
    # Parts with common episodes would have errors in common, which adding up squares leaves out.
    keys = part_keys(stream(as_key(key), Purpose.EVALUATION), len(engine.parts))
    pairs = zip(engine.parts, keys, strict=True)
    found = [_evaluate(part, params, part_key, num_episodes) for part, part_key in pairs]
    settle(engine, found)
    losses, errors = (jnp.stack(values) for values in zip(*found, strict=True))
    error = jnp.sqrt(jnp.mean(errors**2) / len(found))
    return Evaluation(jnp.mean(losses), error, num_episodes)


@eqx.filter_jit
def _evaluate(engine, params, key, num_episodes):
    keys = jax.random.split(key, num_episodes)
    trajectories = engine.start(params, keys)
    _, losses = engine.unroll(params, trajectories, engine.horizon)
    losses = losses[0]
    length = jnp.mean(trajectories.end.astype(losses.dtype))
    loss = jnp.mean(losses) / length
    residual = losses - loss * trajectories.end.astype(losses.dtype)
    spread = jnp.sqrt(jnp.sum(residual**2) / jnp.maximum(num_episodes - 1, 1) / num_episodes)
    return loss, jnp.where(num_episodes > 1, spread / length, jnp.nan)
