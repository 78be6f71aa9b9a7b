"""A linear system with a quadratic loss, whose gradient every smoothing leaves as it is."""

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer, check_not_negative
from ._closed_form import (
    LinearSystem,
    flatten,
    linear_quadratic_gradient,
    unflatten,
    window_starts,
)

_FAST, _SLOW, _UNDOING, _SLOW_COST = 0.3, 0.95, 0.5, 0.3


def _draw_system(size: int, num_params: int, seed: int) -> LinearSystem:
    draw = np.random.default_rng(seed)
    transition = np.diag(np.append(np.full(size - 1, _FAST), _SLOW))
    transition[:-1, -1] = -_UNDOING * draw.uniform(0.8, 1.2, size - 1)
    control = draw.uniform(0.5, 1.0, (size, num_params))
    factor = 0.3 * draw.normal(size=(size, size))
    scale = np.append(np.ones(size - 1), _SLOW_COST)
    cost = np.outer(scale, scale) * (np.eye(size) + factor @ factor.T / size)
    goal = np.append(draw.uniform(0.5, 1.5, size - 1), 0.0)
    return LinearSystem(transition, control, cost, goal, 0.5 * draw.normal(size=size))


class LinearQuadratic(AbstractProblem):
    r"""A stable linear system with a quadratic loss at every step.

    $$ s_{t+1} = A s_t + B \theta, \qquad
       \ell_t = \tfrac{1}{2} (s_{t+1} - y)^\top Q\, (s_{t+1} - y) $$

    The first check of an estimator: the gradient is the same for every smoothing, so that all
    unbiased estimators share one mean. What a parameter does at once to the fast entries of the
    state, it undoes later through the last, slow entry: with few exceptions among the seeds a
    window of 3 of the 12 steps gives the wrong sign in some coordinates.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `size`: entries of the state, at least 2.
    - `num_params`: entries of the parameters, a vector that starts at zero.
    - `seed`: makes $A$, $B$, $Q$, $y$ and $s_0$, to be read in `system`.
    - `noise`: standard deviation of the Gaussian noise that each episode adds to $s_0$ and each
      step to $y$. It changes the variance of gradients and not their mean.

    Source: a standard construction; the signs follow influence balancing (Tallec and Ollivier,
    2017, arXiv:1702.05043).
    """

    horizon: int = 12
    size: int = 3
    num_params: int = 4
    seed: int = 0
    noise: float = 0.0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("size", self.size, least=2)
        check_integer("num_params", self.num_params)
        check_integer("seed", self.seed, least=0)
        check_not_negative("noise", self.noise)

    @property
    def system(self) -> LinearSystem:
        """The matrices that `seed` makes."""
        return _draw_system(self.size, self.num_params, self.seed)

    def init_params(self, *, key):
        return jnp.zeros(self.num_params)

    def init_state(self, params, *, key):
        return self.system.start + self.noise * jax.random.normal(key, (self.size,))

    def step(self, params, state, t, *, key):
        transition, control, cost, goal, _ = self.system
        state = transition @ state + control @ params
        error = state - (goal + self.noise * jax.random.normal(key, (self.size,)))
        return state, 0.5 * jnp.dot(error, cost @ error)

    def exact_gradient(self, params: Params, target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        starts = window_starts(self.horizon, target)
        return unflatten(linear_quadratic_gradient(self.system, flatten(params), starts), params)
