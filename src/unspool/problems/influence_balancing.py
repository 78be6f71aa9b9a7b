"""A parameter whose long-range influence has the opposite sign of its short-range one."""

import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer
from ._closed_form import (
    LinearSystem,
    flatten,
    linear_quadratic_gradient,
    unflatten,
    window_starts,
)


class InfluenceBalancing(AbstractProblem):
    r"""One parameter that raises a state at first and lowers it in the long run.

    $$ s_{t+1}^{(i)} = \tfrac{1}{2} \big(s_t^{(i)} + s_t^{(i+1)}\big) \pm \theta, \qquad
       \ell_t = \tfrac{1}{2} \big(s_{t+1}^{(1)} - 1\big)^2 $$

    The sign is plus for the first `num_positive` entries and minus for the others; $s_0 = 1$ in
    every entry. The derivative of $s^{(1)}$ through the last $W$ steps is 1, 10, 16.476, 0.566,
    -0.219 and -6 for $W$ = 1, 10, 20, 40, 41 and infinity: a gradient truncated to a short
    window points away from the optimum $\theta = -1/6$ and training diverges.

    The loss of every step counts. Published runs take it at the end of each window only, and
    need a window of 41; the mean over the steps of a window, with a constant error, has the
    right sign from 110 steps on.

    **Arguments:**

    - `horizon`: steps of an episode; the state forgets its start after about 100.
    - `size`: entries of the state.
    - `num_positive`: entries that the parameter raises, from 0 to `size`.

    Source: Tallec and Ollivier, Unbiased online recurrent optimization, 2017, arXiv:1702.05043.
    """

    horizon: int = 100
    size: int = 23
    num_positive: int = 10

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("size", self.size)
        check_integer("num_positive", self.num_positive, least=0)
        if self.num_positive > self.size:
            raise ValueError(
                f"num_positive must be at most size = {self.size}, got {self.num_positive}; "
                f"the nearest legal value is {self.size}"
            )

    def init_params(self, *, key):
        return jnp.array(0.5)

    def init_state(self, params, *, key):
        return jnp.ones(self.size)

    def step(self, params, state, t, *, key):
        sign = jnp.where(jnp.arange(self.size) < self.num_positive, 1.0, -1.0)
        state = 0.5 * state + 0.5 * jnp.append(state[1:], 0.0) + params * sign
        return state, 0.5 * (state[0] - 1.0) ** 2

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        transition = 0.5 * (np.eye(self.size) + np.eye(self.size, k=1))
        sign = np.where(np.arange(self.size) < self.num_positive, 1.0, -1.0)
        first = np.zeros(self.size)
        first[0] = 1.0
        cost = np.outer(first, first)
        system = LinearSystem(transition, sign[:, None], cost, first, np.ones(self.size))
        starts = window_starts(self.horizon, target)
        return unflatten(linear_quadratic_gradient(system, flatten(params), starts), params)
