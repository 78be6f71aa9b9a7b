"""A linear system with a quadratic loss, whose gradient every smoothing leaves as it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Params
from .._problem import AbstractProblem
from .._target import Target
from ._check import check_integer, check_not_negative
from ._closed_form import flatten, linear_quadratic_gradient, unflatten, window_starts

_FAST, _SLOW, _UNDOING, _SLOW_COST = 0.3, 0.95, 0.5, 0.3


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
    - `seed`: makes `transition` $A$, `control` $B$, `cost` $Q$, `goal` $y$ and `start` $s_0$.
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
    transition: Float[np.ndarray, "size size"] = eqx.field(init=False)
    control: Float[np.ndarray, "size num_params"] = eqx.field(init=False)
    cost: Float[np.ndarray, "size size"] = eqx.field(init=False)
    goal: Float[np.ndarray, " size"] = eqx.field(init=False)
    start: Float[np.ndarray, " size"] = eqx.field(init=False)

    def __post_init__(self):
        check_integer("size", self.size, least=2)
        check_integer("num_params", self.num_params)
        check_integer("seed", self.seed, least=0)
        size, draw = self.size, np.random.default_rng(self.seed)
        transition = np.diag(np.append(np.full(size - 1, _FAST), _SLOW))
        transition[:-1, -1] = -_UNDOING * draw.uniform(0.8, 1.2, size - 1)
        self.transition = transition
        self.control = draw.uniform(0.5, 1.0, (size, self.num_params))
        factor = 0.3 * draw.normal(size=(size, size))
        scale = np.append(np.ones(size - 1), _SLOW_COST)
        self.cost = np.outer(scale, scale) * (np.eye(size) + factor @ factor.T / size)
        self.goal = np.append(draw.uniform(0.5, 1.5, size - 1), 0.0)
        self.start = 0.5 * draw.normal(size=size)

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_not_negative("noise", self.noise)

    def init_params(self, *, key):
        return jnp.zeros(self.num_params)

    def init_state(self, params, *, key):
        return self.start + self.noise * jax.random.normal(key, (self.size,))

    def step(self, params, state, t, *, key):
        state = self.transition @ state + self.control @ params
        error = state - (self.goal + self.noise * jax.random.normal(key, (self.size,)))
        return state, 0.5 * jnp.dot(error, self.cost @ error)

    def exact_gradient(self, params: Float[Array, " num_params"], target: Target) -> Params:
        """The gradient of the expected total loss of an episode, divided by `horizon`."""
        matrices = [self.transition, self.control, self.cost, self.goal, self.start]
        transition, control, cost, goal, start = (np.asarray(x, np.float64) for x in matrices)
        gradient = linear_quadratic_gradient(
            (transition, control),
            (cost, goal),
            start,
            flatten(params),
            window_starts(self.horizon, target),
        )
        return unflatten(gradient, params)
