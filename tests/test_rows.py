"""Trees whose leaves have an axis of workers."""

import jax.numpy as jnp
import numpy as np

from unspool import _rows as rows


def test_a_worker_is_finite_if_all_its_leaves_are():
    tree = {
        "a": jnp.array([1.0, jnp.nan, 1.0, 1.0]),
        "b": jnp.array([[1.0, 2.0], [1.0, 2.0], [1.0, jnp.inf], [-jnp.inf, 2.0]]),
    }
    assert rows.all_finite(tree).tolist() == [True, False, False, False]


def test_entries_are_numbered_in_the_order_of_memory():
    x = jnp.zeros((2, 3, 4))
    assert np.array_equal(rows.positions(x).ravel(), np.arange(24))
