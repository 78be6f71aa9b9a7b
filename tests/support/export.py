"""A small learned optimizer with its parameters, and trees of weights that it may meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unspool.problems.learned_optimizer import MLPOptimizer


def init(key):
    return {"bias": jnp.zeros(()), "matrix": jax.random.normal(key, (3,))}


SMALL = MLPOptimizer((4,))


@pytest.fixture(scope="module")
def params():
    return SMALL.init_params(key=jax.random.key(3))


def same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)


TREES = {
    "a scalar": jnp.ones(()),
    "nested": {"a": [jnp.ones((2, 3)), (jnp.ones(4), jnp.ones((1, 2, 2)))], "b": None},
    "half": (jnp.ones(3, jnp.bfloat16), jnp.ones((2, 2), jnp.float16)),
    "mixed": [jnp.ones(3, jnp.bfloat16), jnp.ones(2)],
}
