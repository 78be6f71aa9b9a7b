"""The interface of classifying networks: tensors, and scores made of them."""

import abc
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ..._custom_types import RandomKey, Scalar

Weights = dict[str, dict[str, Float[Array, "..."]]]
"""The tensors of each layer by name."""


class Tensor(NamedTuple):
    """A tensor of weights, as it is before training.

    - `shape`: its shape.
    - `fan_in`: how many inputs one of its units sums up; none for a bias, which starts at zero.
    """

    shape: tuple[int, ...]
    fan_in: int | None = None


class AbstractNetwork(eqx.Module):
    """A network without its weights, which are a tree of its own: layers, and tensors in them.

    A subclass says which tensors there are and what is made of them; `classifier` makes a model of
    it, and `image_task` and `text_task` a task.
    """

    @property
    @abc.abstractmethod
    def num_classes(self) -> int:
        """The number of classes."""

    @property
    @abc.abstractmethod
    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of each layer by name."""

    @abc.abstractmethod
    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` if inputs of this shape cannot be read; examples do not count."""

    @abc.abstractmethod
    def scores(
        self, weights: Weights, inputs: Num[Array, "examples ..."]
    ) -> Float[Array, "examples *labels classes"]:
        """The score of every class, the higher the likelier."""


def init_weights(network: AbstractNetwork, key: RandomKey, scale: float | Scalar = 1.0) -> Weights:
    r"""Weights before training: biases of zero, all else truncated normal.

    The normal distribution is cut at two standard deviations, which are
    $\mathrm{scale} / \sqrt{\text{fan-in}}$ each; of what is left the standard deviation is 0.88
    of that.
    """
    tensors = [tensor for layer in network.tensors.values() for tensor in layer.values()]
    ends = np.cumsum([math.prod(x.shape) for x in tensors if x.fan_in])
    # One draw for all: each further one is compiled for itself.
    draws = iter(jnp.split(jax.random.truncated_normal(key, -2.0, 2.0, (ends[-1],)), ends[:-1]))

    def start(tensor):
        if not tensor.fan_in:
            return jnp.zeros(tensor.shape)
        return jnp.reshape(next(draws), tensor.shape) * (scale * tensor.fan_in**-0.5)

    return {
        name: {part: start(tensor) for part, tensor in layer.items()}
        for name, layer in network.tensors.items()
    }
