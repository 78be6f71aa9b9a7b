"""The smallest policy: one matrix."""

import jax.numpy as jnp
from jax.nn.initializers import variance_scaling

from .._check import check_not_negative
from .policy import AbstractPolicy


class LinearPolicy(AbstractPolicy):
    r"""A matrix times the observation, without a bias.

    $$ a = \theta o, \qquad \theta \in \mathbb{R}^{\text{actions} \times \text{observations}} $$

    At the start every weight is zero, or drawn from a normal distribution of standard deviation
    $\sqrt{\mathrm{scale} / \text{observations}} / 0.8796$ that is cut at two of them, so that
    $\sqrt{\mathrm{scale} / \text{observations}}$ is left of it.

    **Arguments:**

    - `scale`: the variance of a weight at the start, times the number of observations; at least 0.

    Source: Rajeswaran, Lowrey, Todorov and Kakade, Towards generalization and simplicity in
    continuous control, 2017, arXiv:1703.02660.
    """

    scale: float = 0.0

    def __check_init__(self):
        check_not_negative("scale", self.scale)

    def init_params(self, num_observations, num_actions, *, key):
        shape = num_actions, num_observations
        if self.scale == 0:
            return jnp.zeros(shape)
        # Inputs are the last axis, so that a row of weights is what makes one action.
        draw = variance_scaling(self.scale, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2)
        return draw(key, shape)

    def __call__(self, params, observation):
        return (params @ observation[..., None])[..., 0]
