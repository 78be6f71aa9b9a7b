"""The proof by simulation that an estimator's mean is what it should be."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._counts import as_count
from ._custom_types import Params, RandomKey
from ._engine import AbstractEngine, AnyEngine, LocalEngine, as_engine
from ._estimator import AbstractEstimator
from ._programs import call_program
from ._random import Purpose, stream
from ._reference import sample_gradients

_EPISODES = 2
_ROUNDING = 1e3


class BiasTest(NamedTuple):
    """An estimator's mean against the gradient of its estimand, coordinate by coordinate.

    - `passed`: whether `p_value` is at least the level asked for.
    - `p_value`: the chance that an unbiased estimator strays as far in some coordinate.
    - `z`: deviation from the reference in standard errors of both.
    - `mean`, `reference`: the two gradients, flat; `standard_error` is that of their difference.
    - `num_chains`, `num_estimates`: independent chains, and estimates averaged in each.
    - `dropped`: workers left out; their absence is a bias of its own.
    """

    passed: bool
    p_value: float
    z: Float[np.ndarray, " params"]
    mean: Float[np.ndarray, " params"]
    reference: Float[np.ndarray, " params"]
    standard_error: Float[np.ndarray, " params"]
    num_chains: int
    num_estimates: int
    dropped: int


def check_unbiased(
    problem: AnyEngine,
    estimator: AbstractEstimator,
    *,
    key: RandomKey,
    params: Params | None = None,
    reference: Params | None = None,
    num_chains: int = 1000,
    level: float = 1e-3,
) -> BiasTest:
    r"""Tests whether an estimator's mean is the gradient it promises, on a problem of yours.

    $$ z_p = \frac{\mathrm{mean}_c \big( A_{c,p} - E_c \, g_p \big)}{\text{standard error}} $$

    with $A_c$ what a chain's estimates add up to, per worker, $E_c$ the episodes it began, and $g$
    the gradient of an episode's total loss. Parameters stay fixed. Where episodes differ in
    length this compares the gradient up to the factor that `AbstractProblem` speaks of, after
    four horizons of running in. The largest $|z|$ is judged with Bonferroni's correction.

    **Arguments:**

    - `problem`, `estimator`: what is tested on what. Chains of simulators that keep their state
      to themselves run one after the other.
    - `key`: all randomness; another key is another test.
    - `params`: where; by default the problem's `init_params`.
    - `reference`: the right answer, if known in closed form: the gradient of the expected total
      loss of an episode, divided by the horizon, for the estimator's `target(horizon)`. By
      default it is simulated from the definition, with as many episodes as the chains have; on
      the host, where that cannot be, it has to be given.
    - `num_chains`: independent chains, at least 30. More find smaller biases.
    - `level`: how improbable a deviation must be to fail.

    **Returns:** a `BiasTest`; look at `passed`, and at `z`.

    **Raises:** `ValueError` for too few chains, parameters that do not fit, or no `reference` where
    there has to be one.
    """
    num_chains = as_count("num_chains", num_chains, least=30)
    engine = as_engine(problem)
    if reference is None and not isinstance(engine, LocalEngine):
        raise ValueError(
            f"reference must be given for {type(engine).__name__}: only a single problem in JAX "
            "can be simulated from the definition"
        )
    if params is None:
        params = engine.init_params(key=stream(key, Purpose.PARAMS))
    engine.check(params)
    num_windows = estimator.num_windows(engine.horizon)
    running_in = 0 if engine.fixed_length else 4 * num_windows
    num_estimates = _EPISODES * num_windows
    keys = jax.random.split(key, num_chains)
    chains = call_program(_run_chains, engine, estimator, params, keys, num_estimates, running_in)
    total, episodes, dropped = jax.device_get(chains)
    if reference is None and isinstance(engine, LocalEngine):
        num_samples = num_chains * estimator.num_workers
        target = estimator.target(engine.horizon)
        samples = sample_gradients(engine.problem, params, target, key=key, num_samples=num_samples)
        exact, reference_error = _mean_and_error(samples, num_samples)
    else:
        exact = np.asarray(ravel_pytree(reference)[0], np.float64)
        reference_error = np.zeros_like(exact)
    deviation = total - np.outer(episodes, exact)
    per_episode = episodes.mean()
    mean = exact + deviation.mean(0) / per_episode
    spread = deviation.std(0, ddof=1) / math.sqrt(num_chains) / per_episode
    error = np.hypot(spread, reference_error)
    precision = jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps
    rounding = _ROUNDING * float(precision) * np.max(np.abs(exact))
    z = (mean - exact) / np.maximum(np.hypot(error, rounding), np.finfo(float).tiny)
    p_value = min(1.0, z.size * math.erfc(np.max(np.abs(z)) / math.sqrt(2)))
    if not np.all(np.isfinite(z)):
        p_value = 0.0
    sizes = (num_chains, num_estimates, int(dropped.sum()))
    return BiasTest(p_value >= level, p_value, z, mean, exact, error, *sizes)


def _mean_and_error(samples: Params, num_samples: int):
    flat = np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(samples), np.float64)
    return flat.mean(0), flat.std(0, ddof=1) / math.sqrt(num_samples)


def _run_chains(
    engine: AbstractEngine,
    estimator: AbstractEstimator,
    params: Params,
    keys: Array,
    num_estimates: int,
    running_in: int,
):
    """Per chain: what the estimates add up to in units of an episode's gradient; the episodes
    that a worker began; the workers dropped."""

    def estimate(workers, _):
        estimate, workers = estimator.estimate(engine, params, workers)
        stats = estimate.stats
        return workers, (ravel_pytree(estimate.grad)[0], stats["episodes"], stats["dropped"])

    def chain(key):
        workers = estimator.init(engine, params, key=key)
        _, history = jax.lax.scan(estimate, workers, length=running_in + num_estimates)
        grads, episodes, dropped = jax.tree.map(lambda x: x[running_in:], history)
        total = jnp.sum(grads, axis=0) / estimator.num_windows(engine.horizon)
        return total, jnp.sum(episodes) / estimator.num_workers, jnp.sum(dropped)

    return jax.vmap(chain)(keys) if engine.copies_states else jax.lax.map(chain, keys)
