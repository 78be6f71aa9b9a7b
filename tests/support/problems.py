"""The parameters that a problem begins with, and the mean loss of an episode."""

import jax
import jax.numpy as jnp

KEY_SEED = 0


def initial_params(problem):
    return problem.init_params(key=jax.random.key(KEY_SEED))


def mean_loss(problem, params, key):
    def body(state, t):
        return problem.step(params, state, t, key=key)

    state = problem.init_state(params, key=key)
    return jax.lax.scan(body, state, jnp.arange(problem.horizon))[1].mean()
