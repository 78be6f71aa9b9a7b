"""A random recurrent net, small enough to know the variance of every estimator."""

import jax
import jax.numpy as jnp

from .._problem import AbstractProblem
from .._random import seeded_key
from ._check import check_integer, check_positive
from ._recurrent import TanhCell


class RandomNet(AbstractProblem):
    r"""A plain recurrent net with random weights, whose memory is weighed at random.

    $$ h_{t+1} = \tanh (W_{ih} x_t + W_{hh} h_t + b), \qquad \ell_t = c \cdot h_{t+1} $$

    Weights are normal with the variance `gain`$^2 / n$ for $n$ units; inputs $x$ and the fixed
    weighing $c$ are standard normal. With six units and three inputs there are 60 parameters. Made
    to measure estimators: for one sequence of inputs, at the start, the variance of `UORO` is one
    to ten squared gradients.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `num_hidden`: units $n$.
    - `num_inputs`: inputs of a step.
    - `gain`: scale of the weights, above 0.
    - `seed`: which weighing $c$.

    Source: made for this library, after the net of six units in Cooijmans and Martens, On the
    variance of unbiased online recurrent optimization, 2019, arXiv:1902.02405.
    """

    horizon: int = 12
    num_hidden: int = 6
    num_inputs: int = 3
    gain: float = 1.0
    seed: int = 0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("num_hidden", self.num_hidden)
        check_integer("num_inputs", self.num_inputs)
        check_positive("gain", self.gain)
        check_integer("seed", self.seed, least=0)

    def init_params(self, *, key):
        cell = TanhCell(self.num_inputs, self.num_hidden, key=key)
        leaves, structure = jax.tree.flatten(cell)
        scale, keys = self.gain / self.num_hidden**0.5, jax.random.split(key, len(leaves))
        drawn = [scale * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, drawn)

    def init_state(self, params, *, key):
        return jnp.zeros(self.num_hidden)

    def step(self, params, state, t, *, key):
        weighing = jax.random.normal(seeded_key(self.seed), (self.num_hidden,))
        state = params(jax.random.normal(key, (self.num_inputs,)), state)
        return state, jnp.dot(weighing, state)
