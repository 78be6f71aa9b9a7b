"""A problem whose estimates have variances that are known in closed form."""

import jax.numpy as jnp
import numpy as np

import unspool

SLOPE = np.array([1.0, -2.0])


class Plane(unspool.AbstractProblem):
    """A loss that is linear in two parameters, whatever the step."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.zeros(2)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, jnp.vdot(jnp.asarray(SLOPE), params)
