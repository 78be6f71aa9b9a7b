"""Two constants of the Lorenz system, judged on trajectories with starts of their own."""

import jax
import jax.numpy as jnp

from .._problem import AbstractProblem
from ._check import check_integer, check_not_negative, check_positive
from .lorenz import INIT_LOG_RATES, TRUE_RATES, lorenz_step


class LorenzFromRandomStarts(AbstractProblem):
    r"""The Lorenz problem with a start state of its own for every episode.

    $$ s_0 = s^*_0 = \mathrm{start} + \mathrm{start\_noise} \cdot \xi, \qquad
       \ell_t = (z_{t+1} - z^*_{t+1})^2, \qquad \xi \sim N(0, I) $$

    The truth runs beside the model. Evaluate on it parameters that were trained on `Lorenz`: the
    published generalization loss is the mean over 10,000 episodes, 312 before training and 47
    to 48 after it.

    **Arguments:**

    - `horizon`, `dt`, `start`: as for `Lorenz`.
    - `start_noise`: standard deviation of each coordinate of the start state, at least 0.

    Source: Li, Harrison, Sohl-Dickstein, Smith and Metz, Noise-reuse in online evolution
    strategies, 2023, arXiv:2304.12180.
    """

    horizon: int = 2000
    dt: float = 0.005
    start: tuple[float, float, float] = (1.2, 1.3, 1.6)
    start_noise: float = 1.0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_positive("dt", self.dt)
        check_not_negative("start_noise", self.start_noise)

    def init_params(self, *, key):
        return jnp.array(INIT_LOG_RATES)

    def init_state(self, params, *, key):
        start = jnp.array(self.start) + self.start_noise * jax.random.normal(key, (3,))
        return {"model": start, "truth": start}

    def step(self, params, state, t, *, key):
        a, r = jnp.exp(params)
        model = jnp.stack(lorenz_step((a, r), state["model"], self.dt))
        truth = jnp.stack(lorenz_step(TRUE_RATES, state["truth"], self.dt))
        return {"model": model, "truth": truth}, (model[2] - truth[2]) ** 2
