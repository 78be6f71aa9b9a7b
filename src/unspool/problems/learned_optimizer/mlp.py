"""Networks of dense layers."""

import math

import jax
import jax.numpy as jnp

from .._check import check_integer
from .dense import Activation, dense_layers
from .network import AbstractNetwork, Tensor


class MLP(AbstractNetwork):
    """Dense layers with activations between them, which read their inputs as vectors.

    By default the network of the Fashion-MNIST experiment of Li et al., of 4522 parameters, for
    images of 8 x 8 pixels.

    **Arguments:**

    - `sizes`: numbers of inputs, of units in each hidden layer, and of classes.
    - `activation`: a function of an array; by default `jax.nn.gelu`, with its tanh approximation.

    Source: Li et al., Noise-reuse in online evolution strategies, 2023, arXiv:2304.12180.
    """

    sizes: tuple[int, ...] = (64, 32, 32, 32, 10)
    activation: Activation = jax.nn.gelu

    def __check_init__(self):
        if len(self.sizes) < 2:
            raise ValueError(
                f"sizes must have the numbers of inputs and of classes at least, got {self.sizes}"
            )
        for index, size in enumerate(self.sizes):
            check_integer(f"sizes[{index}]", size)

    @property
    def num_classes(self):
        return self.sizes[-1]

    @property
    def tensors(self):
        pairs = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        return {
            f"layer{index}": {"bias": Tensor((out,)), "matrix": Tensor((into, out), into)}
            for index, (into, out) in enumerate(pairs)
        }

    def check_inputs(self, shape):
        if math.prod(shape) != self.sizes[0]:
            raise ValueError(
                f"sizes[0] must be {math.prod(shape)} for inputs of the shape {shape}, got "
                f"{self.sizes[0]}"
            )

    def scores(self, weights, inputs):
        # By name, for trees sort their keys, and layer10 comes before layer2.
        layers = [weights[name] for name in self.tensors]
        return dense_layers(layers, jnp.reshape(inputs, (len(inputs), -1)), self.activation)
