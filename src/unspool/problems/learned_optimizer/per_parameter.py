"""A small network that is applied to every weight on its own."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Params, RandomKey


def init_network(sizes: Sequence[int], key: RandomKey) -> Params:
    """Layers of these sizes: matrices truncated normal, as wide as their inputs ask, biases zero.

    A layer has a `matrix` of shape (out, in) and a `bias` of shape (out,).
    """
    shapes = [(out, into) for into, out in zip(sizes[:-1], sizes[1:], strict=True)]
    ends = np.cumsum([out * into for out, into in shapes])
    # One draw for all: each further one is compiled for itself.
    draws = jnp.split(jax.random.truncated_normal(key, -2.0, 2.0, (ends[-1],)), ends[:-1])
    return {
        f"layer{index}": {
            "bias": jnp.zeros(shape[0]),
            "matrix": jnp.reshape(draw, shape) * shape[1] ** -0.5,
        }
        for index, (shape, draw) in enumerate(zip(shapes, draws, strict=True))
    }


def apply_network(
    params: Params,
    weight_features: Sequence[Float[Array, "features _"]],
    step_features: Float[Array, " times"],
) -> list[Float[Array, "outputs _"]]:
    """Outputs of the network for every weight, tensor by tensor.

    `weight_features` are the features of each tensor's weights, one column a weight;
    `step_features` are those that all weights share. Rectifiers are between the layers.
    """
    params = jax.tree.map(jnp.asarray, params)
    # By name, for a tree sorts its names as words.
    first, *others = (params[f"layer{index}"] for index in range(len(params)))
    features = jnp.concatenate(weight_features, axis=1)
    # Features x weights, so that products are as wide as there are weights; and what all weights
    # share enters as if it were a bias: together half of the time.
    count = features.shape[0]
    shared = first["bias"] + first["matrix"][:, count:] @ step_features
    outputs = first["matrix"][:, :count] @ features + _column(shared, features)
    for layer in others:
        outputs = layer["matrix"] @ jax.nn.relu(outputs) + _column(layer["bias"], outputs)
    return jnp.split(outputs, np.cumsum([x.shape[1] for x in weight_features])[:-1], axis=1)


def _column(bias: Float[Array, " out"], like: Float[Array, "_ weights"]) -> Array:
    return jnp.broadcast_to(bias[:, None], (bias.size, like.shape[1]))
