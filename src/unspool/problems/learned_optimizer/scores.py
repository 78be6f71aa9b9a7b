"""Losses and accuracies of the scores of classes."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer

from ..._custom_types import Scalar


def mean_cross_entropy(
    scores: Float[Array, "*examples classes"],
    labels: Integer[Array, "*examples"],
    clip: float | None = None,
) -> Scalar:
    """The cross-entropy of scores and labels, each at most `clip`, averaged over examples."""
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    return jnp.mean(losses if clip is None else jnp.minimum(losses, clip))


def mean_accuracy(
    scores: Float[Array, "*examples classes"], labels: Integer[Array, "*examples"]
) -> Scalar:
    """The fraction of examples whose highest score is that of their label."""
    return jnp.mean(jnp.argmax(scores, axis=-1) == labels, dtype=float)
