"""Random trees of weights, and learned optimizers that are run on them step by step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

DRAW = np.random.default_rng(0)


def normal(shape, dtype=None):
    return jnp.asarray(DRAW.normal(size=shape), dtype)


def trees(num_trees):
    shapes = {"matrix": (3, 4), "scalar": (), "vector": (3,)}
    return [{name: normal(shape) for name, shape in shapes.items()} for _ in range(num_trees)]


def run(optimizer, params, weights, gradients):
    """The weights after every step."""
    update = eqx.filter_jit(optimizer.update)
    state, path = optimizer.init(weights), []
    for t, gradient in enumerate(gradients):
        updates, state = update(params, gradient, state, weights, jnp.array(t))
        weights = optax.apply_updates(weights, updates)
        path.append(weights)
    return path


def distance(left, right):
    """The largest difference of any two entries."""
    differences = jax.tree.map(lambda x, y: np.max(np.abs(np.asarray(x) - y)), left, right)
    return max(jax.tree.leaves(differences))


def count(params):
    return sum(x.size for x in jax.tree.leaves(params))
