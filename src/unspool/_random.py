"""Every random number is a pure function of a root key, a purpose and an index."""

import enum

import jax
import jax.numpy as jnp

from ._custom_types import IntScalar, RandomKey


class Purpose(enum.IntEnum):
    """What a stream of random numbers is for. Two purposes never share a number."""

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


def stream(key: RandomKey, purpose: Purpose, *indices: IntScalar | int) -> RandomKey:
    """The key of a purpose, or that of the purpose's draw with these one or two indices."""
    key = jax.random.fold_in(key, int(purpose))
    return numbered(key, *indices) if indices else key


def numbered(key: RandomKey, *indices: IntScalar | int) -> RandomKey:
    """The key with these one or two indices, each below 2**32, out of a purpose's many.

    The indices enter the words of the key by exclusive or, which unlike a hash costs nothing: the
    generators are counter based, made for keys that are counted up (Salmon, Moraes, Dror, Shaw,
    2011), and the purpose, hashed in before, keeps purposes apart.
    """
    words = jax.random.key_data(key)
    counts = jnp.stack([jnp.asarray(index).astype(jnp.uint32) for index in indices])
    words = words.at[: counts.size].set(words[: counts.size] ^ counts)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def part_keys(key: RandomKey, count: int) -> list[RandomKey]:
    """A key for each of several parts of one whole; the only part of a whole has the whole's."""
    return [key] if count == 1 else [stream(key, Purpose.PART, index) for index in range(count)]
