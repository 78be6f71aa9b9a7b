"""An episode whose only loss is that of its last state."""

import jax.numpy as jnp

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer
from ._closed_form import flatten, flatten_sigma, gain_and_variance, ramp, unflatten


class FinalLoss(AbstractProblem):
    r"""A state that sums up its increments and is judged at the end of the episode alone.

    $$ s_{t+1} = s_t + \theta_1 + \tfrac{t}{T}\, \theta_2, \qquad
       \ell_t = \begin{cases} T \big(\tfrac{1}{2} e^2 + \tfrac{1}{6} e^3\big),
       \; e = s_T - \mathrm{goal} & t = T - 1 \\ 0 & \text{otherwise} \end{cases} $$

    The factor $T$ makes the time average the loss of the last state. All credit is long-range:
    use it to see that an estimator carries influence over windows without a loss, and that
    the loss of the last step is credited before the episode is reset.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `goal`: the last state with the least loss.

    Source: made for this library.
    """

    horizon: int = 12
    goal: float = 1.0

    def __check_init__(self):
        check_integer("horizon", self.horizon)

    def init_params(self, *, key):
        return jnp.array([0.1, 0.1])

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + params[0] + params[1] * t / self.horizon
        error = state - self.goal
        loss = self.horizon * (error**2 / 2 + error**3 / 6)
        return state, jnp.where(t == self.horizon - 1, loss, 0.0)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        features = ramp(self.horizon)
        gain, variance = gain_and_variance(features, target, flatten_sigma(target, params))
        error = (features @ flatten(params)).sum() - self.goal
        derivative = error + (error**2 + variance[-1]) / 2
        return unflatten(derivative * gain[-1], params)
