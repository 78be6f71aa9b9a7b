"""Long loops in pieces, so that they can be interrupted."""

import time
from collections.abc import Callable
from typing import TypeVar

import jax

_LEAST_SECONDS = 0.5
"""Pieces grow until they take as long."""

_Carry = TypeVar("_Carry")


def run_in_pieces(advance: Callable[[_Carry, int], _Carry], count: int, carry: _Carry) -> _Carry:
    """The carry after `count` steps of a loop; `advance(carry, size)` runs so many.

    A compiled program does not notice Ctrl-C. So there are several calls of it, of about a second
    each, whatever a step takes; where they begin and end does not change the result.
    """
    size = 1
    while count > 0:
        size = min(size, count)
        began = time.perf_counter()
        carry = jax.block_until_ready(advance(carry, size))
        seconds = time.perf_counter() - began
        count -= size
        if seconds < _LEAST_SECONDS:
            size *= 2
        elif seconds > 2 * _LEAST_SECONDS:
            size = max(1, size // 2)
    return carry
