"""A small network that tells images apart, and the images: what tuning experiments train."""

import functools as ft
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ... import data
from ..._custom_types import RandomKey, Scalar
from ...problems.learned_optimizer.dense import dense_layers
from ...problems.learned_optimizer.scores import mean_accuracy, mean_cross_entropy
from ...problems.schedules import Data

Images = Literal["digits", "mnist", "fashion-mnist"]
Weights = dict[str, dict[str, Array]]
_HELD_OUT = {"digits": 397, "mnist": 10_000, "fashion-mnist": 10_000}


def init_network(sizes: tuple[int, ...], key: RandomKey) -> Weights:
    """Dense layers of these sizes: normal weights, as wide as rectifiers ask, biases of zero."""
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    ends = np.cumsum([m * n for m, n in shapes])
    # One draw for all: each further one takes the compiler as long as a whole network.
    draws = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
    return {
        f"layer{i}": {"bias": jnp.zeros(n), "matrix": (2 / m) ** 0.5 * jnp.reshape(draw, (m, n))}
        for i, (draw, (m, n)) in enumerate(zip(draws, shapes, strict=True))
    }


def score(
    weights: Weights, images: Float[Array, "examples pixels"]
) -> Float[Array, "examples classes"]:
    """The network's scores of the classes, rectifiers between its layers."""
    return dense_layers([*weights.values()], images, jax.nn.relu)


def cross_entropy(weights: Weights, batch: tuple[Array, Array]) -> Scalar:
    """The mean cross-entropy of a batch of images and labels."""
    images, labels = batch
    return mean_cross_entropy(score(weights, images), labels)


def accuracy(weights: Weights, batch: tuple[Array, Array]) -> Scalar:
    """The fraction of a batch whose highest score is that of its label."""
    images, labels = batch
    return mean_accuracy(score(weights, images), labels)


@ft.lru_cache(maxsize=2)
def load_images(name: Images, data_dir: str | None, batch_size: int) -> Data:
    """Images as vectors, standardized, the last or a random part of those to train on held out.

    **Raises:** `FileNotFoundError` for files that are not there.
    """
    count = _HELD_OUT[name]
    if name == "digits":
        train, valid = data.split(data.digits(), -1, count)
    else:
        whole = (data.mnist if name == "mnist" else data.fashion_mnist)(data_dir).train
        train, valid = (
            data.Dataset(*(x[part] for x in whole)) for part in (slice(-count), slice(-count, None))
        )
    flat = [(np.reshape(x, (len(x), -1)), y) for x, y in data.standardize(train, valid)]
    return Data(flat[0], flat[1], batch_size)
