"""Policies with hidden layers."""

import itertools

import jax
import jax.numpy as jnp
from jax.nn.initializers import variance_scaling

from .._check import check_integer
from .policy import AbstractPolicy

_LAST_SCALE = 1e-4


class MLPPolicy(AbstractPolicy):
    r"""Dense layers with $\tanh$ between them, and none after the last.

    $$ h_0 = o, \qquad h_{l+1} = \tanh(W_l h_l + b_l), \qquad a = W_L h_L + b_L $$

    At the start biases are zero and weights have the variance $1 / \text{inputs}$; in the last
    layer a ten-thousandth of it, so that the first actions are small.

    **Arguments:**

    - `hidden`: units of each hidden layer.
    """

    hidden: tuple[int, ...] = (32, 32)

    def __check_init__(self):
        for index, size in enumerate(self.hidden):
            check_integer(f"hidden[{index}]", size)

    def init_params(self, num_observations, num_actions, *, key):
        shapes = itertools.pairwise((num_observations, *self.hidden, num_actions))
        layers = []
        for index, (into, out) in enumerate(shapes):
            scale = _LAST_SCALE if index == len(self.hidden) else 1.0
            draw = variance_scaling(scale, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2)
            weights = draw(jax.random.fold_in(key, index), (out, into))
            layers.append({"bias": jnp.zeros(out), "weights": weights})
        return layers

    def __call__(self, params, observation):
        xp = observation.__array_namespace__()
        *hidden, last = params
        for layer in hidden:
            observation = xp.tanh(_dense(layer, observation))
        return _dense(last, observation)


def _dense(layer, inputs):
    return (layer["weights"] @ inputs[..., None])[..., 0] + layer["bias"]
