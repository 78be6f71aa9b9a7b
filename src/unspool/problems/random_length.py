"""Episodes of different lengths: which average is differentiated?"""

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._episodes import Episodes
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer
from ._closed_form import flatten, flatten_sigma, gain_and_variance, ramp, unflatten


class RandomLength(AbstractProblem):
    r"""Episodes whose length is drawn from a few equally likely ones.

    $$ s_{t+1} = s_t + \theta_1 + \tfrac{t}{T}\, \theta_2, \qquad
       \ell_t = \cosh(s_{t+1} - \mathrm{goal}), \qquad
       \mathbb{E}\, \ell_t' = e^{v/2} \sinh(\mu - \mathrm{goal}) $$

    Here $T$ is `horizon`, $\mu$ the state without noise and $v$ its variance. By
    default the objective is the average per step, $\mathbb{E}[\sum_t \ell_t] /
    \mathbb{E}[\text{length}]$, in which long episodes count for more; with `average_per_episode`
    it is $\mathbb{E}[\frac{1}{\text{length}} \sum_t \ell_t]$, by way of `weight`. The two have
    different gradients.

    The gradient of either objective is `exact_gradient` times `horizon / mean_length`.

    **Arguments:**

    - `horizon`: an upper bound of the lengths.
    - `lengths`: the equally likely lengths, integers from 1 to `horizon`.
    - `goal`: the state with the least loss.
    - `average_per_episode`: weigh each step by `mean_length / length`.

    Source: made for this library.
    """

    horizon: int = 12
    lengths: tuple[int, ...] = (3, 12)
    goal: float = 1.0
    average_per_episode: bool = False

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        if len(self.lengths) == 0:
            raise ValueError("lengths must name at least one length, got (); (1,) is legal")
        for index, length in enumerate(self.lengths):
            check_integer(f"lengths[{index}]", length)
            if length > self.horizon:
                raise ValueError(
                    f"lengths[{index}] must be at most horizon = {self.horizon}, got {length}; "
                    f"the nearest legal value is {self.horizon}"
                )

    @property
    def mean_length(self) -> float:
        return sum(self.lengths) / len(self.lengths)

    def init_params(self, *, key):
        return jnp.array([0.1, 0.1])

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + params[0] + params[1] * t / self.horizon
        return state, jnp.cosh(state - self.goal)

    @property
    def episodes(self):
        draw = lambda *, key: jax.random.choice(key, jnp.array(self.lengths))
        per_episode = lambda length: self.mean_length / length
        weight = per_episode if self.average_per_episode else None
        return Episodes(draw_length=draw, weight=weight)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total weighted loss of an episode, divided by `horizon`."""
        features = ramp(self.horizon)
        gain, variance = gain_and_variance(features, target, flatten_sigma(target, params))
        mean = (features @ flatten(params)).cumsum()
        derivative = np.exp(variance / 2) * np.sinh(mean - self.goal)
        of_step = derivative[:, None] * gain
        of_length = [
            (self.mean_length / n if self.average_per_episode else 1.0) * of_step[:n].sum(axis=0)
            for n in self.lengths
        ]
        return unflatten(np.mean(of_length, axis=0) / self.horizon, params)
