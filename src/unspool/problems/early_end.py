"""Episodes that end when their state runs out, sooner or later as the parameters have it."""

import math

import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._episodes import Episodes
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer, check_positive
from ._closed_form import flatten, flatten_sigma, gain_and_variance, ramp, unflatten


class EarlyEnd(AbstractProblem):
    r"""A level that is filled at first, drained afterwards, and ends the episode at zero.

    $$ s_{t+1} = \begin{cases} s_t + \theta_1 + \tfrac{t}{T}\, \theta_2 & t < F \\
       s_t - \mathrm{drain} & t \ge F \end{cases}, \qquad
       \ell_t = \tfrac{1}{2} (s_{t+1} - \mathrm{goal})^2, \qquad s_0 = 0 $$

    The episode is over once $t \ge F$ and $s_t \le 0$. The objective is the expected *total* loss
    of an episode. Trajectories with different parameters end at different times: use it
    to see that an estimator freezes the one, waits for the other and restarts both. Without
    smoothing, the gradient along a trajectory does not see that its end moves.

    **Arguments:**

    - `horizon`: steps of an episode at most, more than `filling`.
    - `filling`: the first $F$ steps, which never end the episode.
    - `drain`: what a later step takes away, above 0.
    - `goal`: the level with the least loss.

    Source: made for this library.
    """

    horizon: int = 12
    filling: int = 4
    drain: float = 0.3
    goal: float = 1.0

    def __check_init__(self):
        check_integer("filling", self.filling)
        check_integer("horizon", self.horizon, least=self.filling + 1)
        check_positive("drain", self.drain)

    def init_params(self, *, key):
        return jnp.array([0.4, 0.2])

    def init_state(self, params, *, key):
        return {"level": jnp.zeros(()), "steps": jnp.zeros((), int)}

    def step(self, params, state, t, *, key):
        inflow = params[0] + params[1] * t / self.horizon
        level = state["level"] + jnp.where(t < self.filling, inflow, -self.drain)
        return {"level": level, "steps": state["steps"] + 1}, 0.5 * (level - self.goal) ** 2

    @property
    def episodes(self):
        return Episodes(is_done=self._has_run_out)

    def _has_run_out(self, state):
        return (state["steps"] >= self.filling) & (state["level"] <= 0)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        r"""The gradient of the expected total loss of an episode, divided by `horizon`.

        The level after filling, $X \sim N(\mu, v)$, decides when the episode ends: a later step
        adds $\frac{1}{2} (X - e)^2$ if $X > d$, with $d$ drained before the step and
        $e = d + \mathrm{drain} + \mathrm{goal}$. With $u = (\mu - d) / \sqrt{v}$,
        $$ \partial_\mu \mathbb{E} = (\mu - e)\, \Phi(u) + \sqrt{v}\, \varphi(u)
           + \tfrac{1}{2} (d - e)^2 \varphi(u) / \sqrt{v}. $$
        """
        features = ramp(self.horizon) * (np.arange(self.horizon) < self.filling)[:, None]
        gain, variance = gain_and_variance(features, target, flatten_sigma(target, params))
        mean = (features @ flatten(params)).cumsum()
        derivative = mean - self.goal
        for t in range(self.filling, self.horizon):
            drained = (t - self.filling) * self.drain
            derivative[t] = self._drained_derivative(mean[t], variance[t], drained)
        return unflatten(derivative @ gain / self.horizon, params)

    def _drained_derivative(self, mean: float, variance: float, drained: float) -> float:
        least_loss = drained + self.drain + self.goal
        if variance == 0:
            return (mean - least_loss) * float(mean > drained)
        deviation = math.sqrt(variance)
        u = (mean - drained) / deviation
        below = 0.5 * math.erfc(-u / math.sqrt(2))
        density = math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
        jump = 0.5 * (drained - least_loss) ** 2 * density / deviation
        return (mean - least_loss) * below + deviation * density + jump
