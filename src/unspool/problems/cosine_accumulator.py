"""A sum of parameters under a cosine: smoothing damps the gradient exponentially."""

import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer, check_positive
from ._closed_form import flatten, flatten_sigma, gain_and_variance, unflatten


class CosineAccumulator(AbstractProblem):
    r"""A state that sums up one parameter, under a cosine.

    $$ s_{t+1} = s_t + \theta, \qquad \ell_t = \cos(\omega s_{t+1}), \qquad
       \frac{\partial\, \mathbb{E}\, \ell_t}{\partial \theta}
       = -\omega\, n\, e^{-\omega^2 v / 2} \sin(\omega (t + 1) \theta) $$

    Here $n$ is the number of copies of $\theta$ that count ($t + 1$ without truncation) and $v$
    the state's variance: $\sigma^2 (t + 1)^2$ with one noise for the episode, $\sigma^2 (t + 1)$
    with a fresh one for every step. Use it to see that estimators which differ only in how long
    they keep a noise have different targets, and that $\sigma$ does not carry over.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `frequency`: the angular frequency $\omega$ of the loss, above 0.

    The parameter is a scalar.

    Source: made for this library.
    """

    horizon: int = 12
    frequency: float = 1.0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_positive("frequency", self.frequency)

    def init_params(self, *, key):
        return jnp.array(0.1)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + params
        return state, jnp.cos(self.frequency * state)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        features = np.ones((self.horizon, 1))
        gain, variance = gain_and_variance(features, target, flatten_sigma(target, params))
        mean = (features @ flatten(params)).cumsum()
        derivative = -self.frequency * np.sin(self.frequency * mean)
        derivative = derivative * np.exp(-(self.frequency**2) * variance / 2)
        return unflatten(derivative @ gain / self.horizon, params)
