"""Every random number is a pure function of a root key, a purpose and an index."""

import enum
import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._custom_types import IntScalar, KeyLike, RandomKey

_GENERATOR = "threefry2x32"


@enum.unique
class Purpose(enum.IntEnum):
    """The purpose of a stream of random numbers. Two purposes never share a number."""

    DATA = 0
    NOISE = 1
    PHASE = 2
    START = 3
    STEP = 4
    LENGTH = 5
    PARAMS = 6
    REFERENCE = 7
    EVALUATION = 8
    CHAIN = 9
    PART = 10
    RESTART = 11


def seeded_key(seed: IntScalar | int) -> RandomKey:
    """The key of a seed, whatever generator JAX has for its default."""
    return jax.random.key(seed, impl=_GENERATOR)


def as_key(key: KeyLike) -> RandomKey:
    """A key of the one generator that the library draws with.

    Every random number has to be a function of its own key. Threefry's are, and its keys pass as
    they are. Draws of `rbg` and `unsafe_rbg` that are mapped over depend on the neighbors' keys,
    and of other generators nothing is known: of their keys one for threefry is derived. Arrays of
    `jax.random.PRNGKey` are taken for the keys that they stand for.

    **Raises:** `ValueError` for anything else.
    """
    if _is_old(key) and key.shape in _OLD_SHAPES:
        words = jnp.asarray(key)
        if words.shape == (2,):
            return jax.random.wrap_key_data(words, impl=_GENERATOR)
    elif _is_typed(key) and key.shape == ():
        if jax.random.key_impl(key) == _GENERATOR:
            return key
        words = jax.random.key_data(key)
    else:
        raise ValueError(f"key must be one random key, such as jax.random.key(0), got {_told(key)}")
    return ft.reduce(jax.random.fold_in, words.ravel(), seeded_key(0))


_OLD_SHAPES = (2,), (4,)
"""Of the arrays that `jax.random.PRNGKey` returns: for threefry, and for the others."""


def _is_old(key: Any) -> bool:
    return isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32


def _is_typed(key: Any) -> bool:
    return isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def _told(key: Any) -> str:
    if isinstance(key, (jax.Array, np.ndarray)):
        return f"an array of {key.dtype}{list(key.shape)}"
    return repr(key)


def stream(key: RandomKey, purpose: Purpose, *indices: IntScalar | int) -> RandomKey:
    """The key of a purpose, or that of the purpose's draw with these one or two indices."""
    key = jax.random.fold_in(as_key(key), int(purpose))
    return numbered(key, *indices) if indices else key


def numbered(key: RandomKey, *indices: IntScalar | int) -> RandomKey:
    """The key with these one or two indices, each below 2**32, out of a purpose's many.

    The indices enter the words of the key by exclusive or, which unlike a hash costs nothing: the
    generators are counter based, made for keys that are counted up (Salmon, Moraes, Dror, Shaw,
    2011), and the purpose, hashed in before, keeps purposes apart.
    """
    key = as_key(key)
    words = jax.random.key_data(key)
    counts = jnp.stack([jnp.asarray(index).astype(jnp.uint32) for index in indices])
    words = words.at[: counts.size].set(words[: counts.size] ^ counts)
    return jax.random.wrap_key_data(words, impl=_GENERATOR)


def part_keys(key: RandomKey, count: int) -> list[RandomKey]:
    """A key for each of several parts of one whole; the only part of a whole has the whole's."""
    return [key] if count == 1 else [stream(key, Purpose.PART, index) for index in range(count)]
