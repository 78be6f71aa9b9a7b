"""A start state that depends on the parameters, and is forgotten."""

import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer, check_positive
from ._closed_form import flatten, flatten_sigma, unflatten


class LearnedStart(AbstractProblem):
    r"""A start state made from the parameters, which also drive the state as it decays.

    $$ s_0 = \theta^2, \qquad s_{t+1} = \rho\, s_t + \theta, \qquad
       \ell_t = \tfrac{1}{2} \lVert s_{t+1} - \mathrm{goal} \rVert^2 $$

    All operations are entry by entry. The start state of an episode is made with the noise of
    its first steps. Use it to see that the gradient through the start state is not lost, in the
    first episode after `init` as in later ones, and not counted twice.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `size`: entries of the parameters and of the state.
    - `decay`: the factor $\rho$, above 0 and below 1.
    - `goal`: what every entry of the state should be.

    Source: made for this library.
    """

    horizon: int = 9
    size: int = 2
    decay: float = 0.7
    goal: float = 1.0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("size", self.size)
        check_positive("decay", self.decay)
        if self.decay >= 1:
            raise ValueError(
                f"decay must be below 1, got {self.decay!r}; "
                "the nearest legal values are those just below 1"
            )

    def init_params(self, *, key):
        return jnp.linspace(0.5, 0.9, self.size)

    def init_state(self, params, *, key):
        return params**2

    def step(self, params, state, t, *, key):
        state = self.decay * state + params
        return state, 0.5 * jnp.sum((state - self.goal) ** 2)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        r"""The gradient of the expected total loss of an episode, divided by `horizon`.

        In the first window $s_{t+1} = \alpha x^2 + \beta x + r$ with $x = \theta + \sigma z_0$
        and an independent $r$ that sums up the later blocks; moments of $x$ up to the third
        give the mean. Later windows are quadratic, so that noise does not matter.
        """
        theta, sigma = flatten(params), flatten_sigma(target, params)
        window, period = target.window or self.horizon, target.period or self.horizon
        first = theta
        second = theta**2 + sigma**2
        third = theta**3 + 3 * theta * sigma**2
        total, state = np.zeros_like(theta), theta**2
        for t in range(self.horizon):
            state = self.decay * state + theta
            gains = self.decay ** np.arange(t, -1, -1.0)
            if t >= window:
                total += gains[t // window * window :].sum() * (state - self.goal)
                continue
            alpha, beta, later = self.decay ** (t + 1), gains[:period].sum(), gains[period:].sum()
            rest = later * theta - self.goal
            total += 2 * alpha**2 * third
            total += alpha * (3 * beta + later) * second
            total += (beta * (beta + later) + 2 * alpha * rest) * first
            total += (beta + later) * rest
        return unflatten(total / self.horizon, params)
