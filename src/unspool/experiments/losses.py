"""Losses at many parameters, in one program."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._black_box import AbstractBlackBox
from .._custom_types import Params, RandomKey
from .._engine import as_engine
from .._evaluate import evaluate
from .._problem import AbstractProblem
from .._random import seeded_key
from .._rows import num_bytes
from ..records import Surface

# Rows of a small state fill the lanes of a core; those of a large one its cache.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 4000, 2**20
_ROWS_PER_CALL = 40_000
# Those of simulators are advanced by few threads, and take long.
_SIMULATED_AT_ONCE = 128


def losses_at(
    problem: AbstractProblem | AbstractBlackBox,
    points: Float[np.ndarray, "points params"],
    *,
    like: Params,
    key: RandomKey,
    num_episodes: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The losses at flat parameter vectors and their standard errors, some points at a time.

    **Arguments:**

    - `problem`: what the parameters are tried on.
    - `points`: one vector per row, the leaves of the parameters one after the other.
    - `like`: parameters of the problem, for their structure.
    - `key`: the episodes' randomness, the same at every point.
    - `num_episodes`: episodes per point.
    """
    at_once = max(1, _rows_at_once(problem, like, key) // num_episodes)
    count = at_once
    if isinstance(problem, AbstractProblem):
        calls = min(_ROWS_PER_CALL, num_episodes * len(points)) // num_episodes // at_once
        count = at_once * max(1, calls)
    unravel = ravel_pytree(like)[1]
    for start in range(0, len(points), count):
        chunk = points[start : start + count]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], count - len(chunk), axis=0)])
        params = jax.vmap(unravel)(jnp.asarray(padded, jnp.result_type(float)))
        losses, errors = _losses(problem, params, key, num_episodes, at_once)
        yield np.asarray(losses)[: len(chunk)], np.asarray(errors)[: len(chunk)]


def _rows_at_once(problem: AbstractProblem | AbstractBlackBox, like: Params, key: RandomKey) -> int:
    if isinstance(problem, AbstractProblem):
        start = jax.eval_shape(lambda params: problem.init_state(params, key=key), like)
        return min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, num_bytes(start)))
    # Simulators that keep their state to themselves cannot be mapped over.
    return _SIMULATED_AT_ONCE if as_engine(problem).copies_states else 1


@eqx.filter_jit
def _losses(problem, params, key, num_episodes, at_once):
    def one(params):
        found = evaluate(problem, params, key=key, num_episodes=num_episodes)
        return found.loss, found.standard_error

    return jax.lax.map(one, params, batch_size=at_once if at_once > 1 else None)


def surface(
    problem: AbstractProblem,
    x: Float[np.ndarray, " x"],
    y: Float[np.ndarray, " y"],
    shifts: Float[np.ndarray, "draws 2"],
    label: str,
    num_episodes: int = 1,
) -> Surface:
    """The loss of a problem with two parameters on a grid, averaged over shifts of the point.

    Shifts and episodes are the same at every point of the grid; a shift of zero gives the loss
    itself.
    """
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
    points = (grid + np.asarray(shifts)).reshape(-1, 2)
    key = seeded_key(0)
    like = problem.init_params(key=key)
    found = losses_at(problem, points, like=like, key=key, num_episodes=num_episodes)
    losses = np.concatenate([losses for losses, _ in found])
    losses = losses.reshape(len(y), len(x), len(shifts)).mean(axis=-1, dtype=np.float64)
    return Surface(x=x.tolist(), y=y.tolist(), loss=losses.tolist(), label=label, scale="log")


def draw_shifts(sigma: float, count: int) -> Float[np.ndarray, "draws 2"]:
    """Antithetic normal shifts of two parameters, always the same ones."""
    draws: Array = sigma * jax.random.normal(seeded_key(1), (count // 2, 2))
    return np.concatenate([np.asarray(draws), -np.asarray(draws)])
