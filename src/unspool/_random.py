"""Every random number is a pure function of a root key, a purpose and an index."""

import enum

import jax

from ._custom_types import IntScalar, RandomKey


class Purpose(enum.IntEnum):
    """What a stream of random numbers is for. Two purposes never share a number."""

    DATA = 0
    NOISE = 1
    PHASE = 2
    START = 3
    STEP = 4
    LENGTH = 5
    SKETCH = 6
    PARAMS = 7
    REFERENCE = 8
    EVALUATION = 9


def stream(key: RandomKey, purpose: Purpose, index: IntScalar | int | None = None) -> RandomKey:
    """The key of a purpose, or that of the purpose's `index`-th draw."""
    key = jax.random.fold_in(key, int(purpose))
    return key if index is None else jax.random.fold_in(key, index)
