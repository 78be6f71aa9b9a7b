"""Dense layers, alone and one after the other."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Layer = dict[str, Float[Array, "..."]]
Activation = Callable[[Array], Array]


def dense(layer: Layer, inputs: Float[Array, "*examples _"]) -> Float[Array, "*examples _"]:
    """Outputs of a layer for each example, before its activation."""
    product = inputs @ layer["matrix"]
    return product + jnp.broadcast_to(layer["bias"], product.shape)


def dense_layers(
    layers: Sequence[Layer], inputs: Float[Array, "*examples _"], activation: Activation
) -> Float[Array, "*examples _"]:
    """Outputs of layers one after the other for each example, activations between them."""
    *hidden, last = layers
    for layer in hidden:
        inputs = activation(dense(layer, inputs))
    return dense(last, inputs)
