"""Two constants of the Lorenz system, learned from one chaotic trajectory."""

import functools as ft
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._problem import AbstractProblem
from ._check import check_integer, check_positive

TRUE_RATES = (10.0, 28.0)
INIT_LOG_RATES = (3.116, 3.7)
_B = 8 / 3


def lorenz_step(rates: tuple[Any, Any], state: Any, dt: float) -> tuple[Any, Any, Any]:
    r"""One explicit Euler step of $\dot x = a (y - x)$, $\dot y = (r - z) x - y$,
    $\dot z = x y - \frac{8}{3} z$, with `rates` $= (a, r)$, in NumPy or in JAX."""
    a, r = rates
    x, y, z = state
    dx, dy, dz = a * (y - x), (r - z) * x - y, x * y - _B * z
    return x + dt * dx, y + dt * dy, z + dt * dz


@ft.lru_cache(maxsize=8)
def _true_heights(horizon: int, dt: float, start: tuple[float, float, float]) -> np.ndarray:
    state, heights = start, []
    for _ in range(horizon):
        state = lorenz_step(TRUE_RATES, state, dt)
        heights.append(state[2])
    return np.array(heights)


class Lorenz(AbstractProblem):
    r"""Learning $\theta = (\log a, \log r)$ of the Lorenz system from its third coordinate.

    $$ s_{t+1} = s_t + dt \cdot \mathrm{lorenz}(e^{\theta}, s_t), \qquad
       \ell_t = (z_{t+1} - z^*_{t+1})^2 $$

    The true trajectory $z^*$ has $a = 10$, $r = 28$ and the same start; it is computed once, in
    float64, and looked up. Derivatives through 2000 steps explode, so that methods
    which need them fail or stall; evolution strategies smooth the chaos away. With
    $\sigma = 0.04$ they end near (2.38, 3.28), not at the truth (2.303, 3.332).

    **Arguments:**

    - `horizon`: steps of an episode.
    - `dt`: the step size of explicit Euler, above 0.
    - `start`: $(x, y, z)$ at the start of an episode.

    Source: Li, Harrison, Sohl-Dickstein, Smith and Metz, Noise-reuse in online evolution
    strategies, 2023, arXiv:2304.12180.
    """

    horizon: int = 2000
    dt: float = 0.005
    start: tuple[float, float, float] = (1.2, 1.3, 1.6)

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_positive("dt", self.dt)

    @property
    def reference(self) -> Float[np.ndarray, " horizon"]:
        """The third coordinate of the true trajectory after each step."""
        return _true_heights(self.horizon, self.dt, self.start)

    def init_params(self, *, key):
        return jnp.array(INIT_LOG_RATES)

    def init_state(self, params, *, key):
        return jnp.array(self.start)

    def step(self, params, state, t, *, key):
        a, r = jnp.exp(params)
        state = jnp.stack(lorenz_step((a, r), state, self.dt))
        # A copy: JAX remembers the precision that a NumPy array was first traced with.
        reference = jnp.asarray(self.reference.astype(jnp.result_type(float)))
        return state, (state[2] - reference[t]) ** 2
