"""A sum of parameters under a cubic loss: the simplest gradient that smoothing changes."""

import jax.numpy as jnp

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer
from ._closed_form import flatten, flatten_sigma, gain_and_variance, ramp, unflatten


class Cubic(AbstractProblem):
    r"""A state that sums up its increments, under a cubic loss.

    $$ s_{t+1} = s_t + \theta_{\mathrm{level}} + \tfrac{t}{T}\, \theta_{\mathrm{slope}}, \qquad
       \ell_t = \tfrac{1}{3} s_{t+1}^3 - s_{t+1}, \qquad
       \mathbb{E}\, \ell_t' = \mu^2 + v - 1 $$

    Here $\mu$ is the state without noise and $v$ its variance,
    $\sigma^2 \sum_{\text{blocks}} (\text{sum of the block's increments})^2$. Use it to see that an
    estimator smooths as it says: noise that is kept for long adds far more to $v$ than noise
    that is redrawn often. The loss has a local minimum at $s = 1$ and no global one.

    **Arguments:**

    - `horizon`: steps of an episode.

    The parameters are a dictionary of two scalars, `level` and `slope`.

    Source: made for this library.
    """

    horizon: int = 8

    def __check_init__(self):
        check_integer("horizon", self.horizon)

    def init_params(self, *, key):
        return {"level": jnp.array(0.1), "slope": jnp.array(0.05)}

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + params["level"] + params["slope"] * t / self.horizon
        return state, state**3 / 3 - state

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        features = ramp(self.horizon)
        gain, variance = gain_and_variance(features, target, flatten_sigma(target, params))
        mean = (features @ flatten(params)).cumsum()
        return unflatten((mean**2 + variance - 1) @ gain / self.horizon, params)
