"""The network of `classifier`, of whose hidden units only some are active."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...._custom_types import Scalar
from ....problems.learned_optimizer.dense import dense
from ....problems.learned_optimizer.scores import mean_cross_entropy
from ..classifier import Weights


def active_units(fraction: Scalar, width: int) -> Bool[Array, " units"]:
    """A mask of the active units of a layer: the first `floor(fraction * width)`."""
    return jnp.arange(width) < jnp.floor(fraction * width)


def score(
    weights: Weights, images: Float[Array, "examples pixels"], active: Float[Array, " hidden"]
) -> Float[Array, "examples classes"]:
    """The network's scores; inactive units' inputs to their rectifiers are zero."""
    *hidden, last = weights.values()
    for layer, fraction in zip(hidden, active, strict=True):
        inputs = dense(layer, images)
        mask = jnp.broadcast_to(active_units(fraction, inputs.shape[1]), inputs.shape)
        images = jax.nn.relu(jnp.where(mask, inputs, 0.0))
    return dense(last, images)


def cross_entropy(
    weights: Weights, batch: tuple[Array, Array], active: Float[Array, " hidden"]
) -> Scalar:
    """The mean cross-entropy of a batch of images and labels."""
    images, labels = batch
    return mean_cross_entropy(score(weights, images, active), labels)
