"""A problem whose episodes fail by chance, for the tests of workers that fail."""

import jax
import jax.numpy as jnp
import numpy as np

import unspool

KEY = jax.random.key(0)

WINDOW, NUM_WINDOWS = 2, 4
LOADINGS = np.array([[2.0, 1, -1, 0], [0, 1, 3, 1], [-1, 1, 1, 2], [1, -2, 0, 3]])
"""What each window's loss makes of the state, so that windows differ."""


class Fated(unspool.AbstractProblem):
    """A linear problem whose episodes carry the windows in which they fail from the start."""

    hazards: jax.Array
    horizon: int = WINDOW * NUM_WINDOWS

    def init_params(self, *, key):
        return jnp.full(4, 0.5)

    def init_state(self, params, *, key):
        return {"x": jnp.zeros(4), "fate": draw_fate(jax.random.key_data(key)[0])}

    def step(self, params, state, t, *, key):
        window = t // WINDOW
        x = 0.5 * state["x"] + params
        loss = jnp.vdot(jnp.array(LOADINGS)[window], x)
        fails = state["fate"][window] < self.hazards[window]
        return state | {"x": x}, jnp.where(fails, jnp.nan, loss)


def draw_fate(word):
    """Four random numbers of eight bits each."""
    return ((word >> (8 * np.arange(4, dtype=np.uint32))) & 255) / 256
