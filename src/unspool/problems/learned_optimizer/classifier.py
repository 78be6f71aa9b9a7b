"""Models that tell classes apart, made of a network."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import RandomKey, Scalar
from .._check import check_positive
from ..schedules import Model
from .network import AbstractNetwork, Weights, init_weights
from .scores import mean_accuracy, mean_cross_entropy

Examples = tuple[Array, Array]


def classifier(
    network: AbstractNetwork,
    init_scale: float | tuple[float, float] = 1.0,
    clip: float | None = None,
) -> Model:
    r"""Makes a `Model` that tells classes apart, with the mean cross-entropy for its loss.

    A batch is `(inputs, labels)`. The accuracy is the fraction of labels with the highest score.

    **Arguments:**

    - `network`: what is trained.
    - `init_scale`: what all weights are multiplied by at the start; or `(low, high)`, from which
      each run draws its own, the logarithm being uniform.
    - `clip`: the most that the cross-entropy of one label counts in the loss of examples held out,
      so that runs which diverge do not drown all others. The published CIFAR-10 experiment has
      $1.5 \ln 10$. The training loss is never clipped.

    **Returns:** a `Model`; losses are in nats per label.

    **Raises:** `ValueError` for a scale or a clip that is not positive.

    **Example:**

    >>> from unspool.problems.learned_optimizer import MLP, classifier
    >>> model = classifier(MLP((4, 8, 3)))
    >>> weights = model.init(jax.random.key(0))
    >>> batch = jnp.zeros((2, 4)), jnp.array([0, 2])
    >>> print(f"{model.loss(weights, batch):.2f}")  # log(3): it guesses
    1.10
    """
    model = _Classifier(network, init_scale, clip)
    valid_loss = None if clip is None else model.clipped_loss
    return Model(model.init, model.loss, model.accuracy, valid_loss=valid_loss)


class _Classifier(eqx.Module):
    """The functions of the model, as methods, so that equal models are equal."""

    network: AbstractNetwork
    init_scale: float | tuple[float, float]
    clip: float | None

    def __check_init__(self):
        if isinstance(self.init_scale, tuple):
            low, high = self.init_scale
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    "init_scale must be a positive number or (low, high) with 0 < low <= high, "
                    f"got {self.init_scale}"
                )
        else:
            check_positive("init_scale", self.init_scale)
        if self.clip is not None:
            check_positive("clip", self.clip)

    def init(self, key: RandomKey) -> Weights:
        if not isinstance(self.init_scale, tuple):
            return init_weights(self.network, key, self.init_scale)
        low, high = map(math.log, self.init_scale)
        scale_key, key = jax.random.split(key)
        scale = jnp.exp(jax.random.uniform(scale_key, minval=low, maxval=high))
        return init_weights(self.network, key, scale)

    def loss(self, weights: Weights, batch: Examples) -> Scalar:
        inputs, labels = batch
        return mean_cross_entropy(self.network.scores(weights, inputs), labels)

    def clipped_loss(self, weights: Weights, batch: Examples) -> Scalar:
        inputs, labels = batch
        return mean_cross_entropy(self.network.scores(weights, inputs), labels, self.clip)

    def accuracy(self, weights: Weights, batch: Examples) -> Scalar:
        inputs, labels = batch
        return mean_accuracy(self.network.scores(weights, inputs), labels)
