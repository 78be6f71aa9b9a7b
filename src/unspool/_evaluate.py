"""Evaluation of parameters: their loss without perturbations, on fresh episodes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ._counts import as_count
from ._custom_types import IntScalar, KeyLike, Params, Scalar
from ._joint import AnyProblem, as_joint
from ._params import check_params
from ._programs import call_known_program
from ._random import Purpose, as_key, part_keys, stream
from ._show import as_table, one_line, show_number


class Evaluation(NamedTuple):
    """The mean loss per step over fresh episodes, and its standard error.

    - `loss`: NaN if all episodes failed.
    - `standard_error`: NaN for a single episode.
    - `num_episodes`: how many were run, of each problem.
    - `dropped`: those whose loss is not finite, which are left out.
    """

    loss: Scalar
    standard_error: Scalar
    num_episodes: int
    dropped: IntScalar | int = 0

    def __repr__(self) -> str:
        return one_line("Evaluation", self._facts())

    def _facts(self) -> dict[str, str]:
        facts = {name: show_number(number) for name, number in self._asdict().items()}
        if facts["dropped"] == "0":
            del facts["dropped"]
        return facts

    def _repr_html_(self) -> str:
        return as_table("Evaluation", self._facts())


def evaluate(
    problem: AnyProblem,
    params: Params,
    *,
    key: KeyLike,
    num_episodes: int = 1,
) -> Evaluation:
    """Evaluates parameters without perturbation: the mean loss per step of fresh episodes.

    It is the total loss over the total length of the episodes.

    An episode that ends early counts with the length that it might have had. Of a `JointProblem` it
    is the mean over its problems, each on episodes of its own.

    **Arguments:**

    - `problem`: a problem, an engine that runs one, or a `JointProblem`.
    - `params`: the parameters to evaluate.
    - `key`: the episodes' randomness; never that of training, even with the same key.
    - `num_episodes`: episodes, run side by side; so many of every problem.

    **Returns:** an `Evaluation`. Its `loss` and `standard_error` are scalars in the units of the
    problem's loss; the error needs two episodes at least.

    **Raises:** `ValueError` if `num_episodes` is below 1 or the parameters do not fit.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing()
    >>> evaluation = unspool.evaluate(problem, jnp.array(0.5), key=jax.random.key(0))
    >>> print(f"{evaluation.loss:.1f}")
    9.9
    """
    num_episodes = as_count("num_episodes", num_episodes)
    check_params(params)
    joint = as_joint(problem)
    found = call_known_program(_evaluate, (joint,), params, as_key(key), num_episodes)
    loss, error, dropped = joint.settle(found)
    return Evaluation(loss, error, num_episodes, dropped)


def _evaluate(joint, params, key, num_episodes):
    joint.check(params)
    # Problems with common episodes would have errors in common, which adding up squares leaves out.
    keys = part_keys(stream(key, Purpose.EVALUATION), len(joint.engines))
    run = lambda engine, key: _evaluate_one(engine, params, jax.random.split(key, num_episodes))
    found = [run(*pair) for pair in zip(joint.engines, keys, strict=True)]
    losses, errors, dropped = (jnp.stack(values) for values in zip(*found, strict=True))
    return jnp.mean(losses), jnp.sqrt(jnp.mean(errors**2) / len(found)), jnp.sum(dropped)


def _evaluate_one(engine, params, keys):
    trajectories = engine.start(params, keys)
    _, losses = engine.unroll(params, trajectories, engine.horizon)
    losses, length = losses[0], trajectories.clock.length.astype(losses.dtype)
    healthy = jnp.isfinite(losses)
    count = jnp.sum(healthy).astype(losses.dtype)
    mean = lambda x: jnp.sum(jnp.where(healthy, x, 0)) / count
    loss = mean(losses) / mean(length)
    squares = mean((losses - loss * length) ** 2)
    error = jnp.sqrt(squares / (count - 1)) / mean(length)
    return loss, jnp.where(count > 1, error, jnp.nan), jnp.sum(~healthy)
