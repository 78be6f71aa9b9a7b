"""The inner training run of a learned optimizer: the per-parameter network of Metz et al. (2019)
trains a small classifier of scikit-learn's 8x8 digits."""

import jax
import jax.numpy as jnp
import numpy as np

import unspool

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)
INNER_SIZES = (64, 32, 32, 32, 10)
NETWORK_SIZES = (2 + len(DECAYS) + len(TIMESCALES), 32, 32, 2)
BATCH = 128


class LearnedOptimizer(unspool.AbstractProblem):
    """One inner training run; its parameters are those of the optimizer's network.

    A step trains on one batch and has for its loss the cross-entropy of a batch held out. The inner
    weights are one vector, and the network sees features x weights, so that its layers are matrix
    products as wide as the inner network has weights.
    """

    train: tuple[jax.Array, jax.Array]
    valid: tuple[jax.Array, jax.Array]
    horizon: int = 1000

    def init_params(self, *, key):
        flat = init_weights(NETWORK_SIZES, key)
        parts = [flat[where].reshape(shape) for where, shape in tensors(NETWORK_SIZES)]
        return tuple(part.T for part in parts)

    def init_state(self, params, *, key):
        weights = init_weights(INNER_SIZES, key)
        return {"weights": weights, "momenta": jnp.zeros((len(DECAYS), weights.size))}

    def step(self, params, state, t, *, key):
        train_key, valid_key = jax.random.split(key)
        gradient = jax.grad(cross_entropy)(state["weights"], *draw(self.train, train_key))
        decays = jnp.asarray(DECAYS)[:, None]
        momenta = decays * state["momenta"] + (1 - decays) * gradient
        features = jnp.concatenate([jnp.stack([gradient, state["weights"]]), momenta])
        update = propose(params, normalise(features), t)
        weights = state["weights"] - update
        return {"weights": weights, "momenta": momenta}, cross_entropy(
            weights, *draw(self.valid, valid_key)
        )


def digits(horizon: int = 1000) -> LearnedOptimizer:
    """The digits in a fixed order, four fifths to train on and the rest held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
    split = len(labels) * 4 // 5
    return LearnedOptimizer(
        (images[:split], labels[:split]), (images[split:], labels[split:]), horizon
    )


def draw(data, key):
    """A batch without replacement: every so manieth example, from a random one on."""
    images, labels = data
    strides = jnp.asarray([s for s in range(1, len(labels)) if np.gcd(s, len(labels)) == 1])
    start, stride = jax.random.bits(key, (2,))
    stride = strides[stride % strides.size]
    index = (start % len(labels) + stride * jnp.arange(BATCH)) % len(labels)
    return images[index], labels[index]


def init_weights(sizes, key):
    """All tensors of a network in one vector: weights truncated normal, as wide as the fan-in asks,
    and biases zero."""
    parts = tensors(sizes)
    scale = np.concatenate(
        [np.full(np.prod(s), s[0] ** -0.5 if len(s) == 2 else 0.0) for _, s in parts]
    )
    return jax.random.truncated_normal(key, -2.0, 2.0, scale.shape) * scale


def tensors(sizes):
    """Where each tensor of a network lies in the vector of its weights, and its shape."""
    shapes = [s for i, o in zip(sizes, sizes[1:], strict=False) for s in ((i, o), (o,))]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    return [(slice(end - np.prod(s), end), s) for end, s in zip(ends, shapes, strict=True)]


def cross_entropy(weights, images, labels):
    parts = [weights[where].reshape(shape) for where, shape in tensors(INNER_SIZES)]
    hidden = images
    for matrix, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        hidden = jax.nn.gelu(hidden @ matrix + bias)
    scores = jax.nn.log_softmax(hidden @ parts[-2] + parts[-1])
    return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))


def normalise(features):
    """Every feature over its root mean square within a tensor."""
    parts = [features[:, where] for where, _ in tensors(INNER_SIZES)]
    rms = [jax.lax.rsqrt(1e-5 + jnp.mean(x**2, axis=1, keepdims=True)) for x in parts]
    return jnp.concatenate([x * r for x, r in zip(parts, rms, strict=True)], axis=1)


def propose(network, features, t):
    """The update of every weight. The features of time are the same for all weights, and enter
    the first layer as if they were a bias."""
    first, bias, second, bias_2, last, bias_3 = network
    time = jnp.tanh(t / jnp.asarray(TIMESCALES, features.dtype) - 1)
    count = features.shape[0]
    hidden = jax.nn.relu(first[:, :count] @ features + (bias + first[:, count:] @ time)[:, None])
    hidden = jax.nn.relu(second @ hidden + bias_2[:, None])
    direction, magnitude = last @ hidden + bias_3[:, None]
    return 1e-3 * direction * jnp.exp(1e-3 * magnitude)
