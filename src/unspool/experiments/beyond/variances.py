"""The variances of an estimate and of an episode's mean, from independent chains."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import Params, RandomKey
from ..._estimator import AbstractEstimator
from ..._problem import AbstractProblem

NUM_CHAINS = 8
_LEFT_OUT = 2
"""Episodes before the one that is measured, in which what is learned has not seen much."""


def num_steps(problem: AbstractProblem, estimator: AbstractEstimator) -> int:
    """Problem steps of `variances`."""
    plan = estimator.plan(problem.horizon)
    windows = plan.num_warmup_windows + plan.num_windows * (_LEFT_OUT + 1)
    return NUM_CHAINS * windows * plan.num_steps


@eqx.filter_jit
def variances(
    problem: AbstractProblem, estimator: AbstractEstimator, params: Params, key: RandomKey
) -> Float[Array, " 2"]:
    """Unbiased estimates of the variance of one estimate, and of the mean over an episode's.

    Both are those of all parameters together, over chains that share nothing.
    """
    num_windows = estimator.plan(problem.horizon).num_windows

    def chain(key):
        def step(state, _):
            found, state = estimator.estimate(problem, params, state)
            return state, ravel_pytree(found.grad)[0]

        def skip(state, _):
            return estimator.estimate(problem, params, state)[1], None

        state = estimator.init(problem, params, key=key)
        state, _ = jax.lax.scan(skip, state, length=_LEFT_OUT * num_windows)
        return jax.lax.scan(step, state, length=num_windows)[1]

    grads = jax.vmap(chain)(jax.random.split(key, NUM_CHAINS))
    total = lambda x: jnp.sum(jnp.var(x, axis=0, ddof=1), axis=-1)
    return jnp.stack([jnp.mean(total(grads)), total(grads.mean(axis=1))])
