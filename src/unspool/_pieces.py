"""Long loops in pieces, so that they can be interrupted."""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._programs import compile_program, is_inside

_LEAST_SECONDS = 0.5
"""Pieces grow until they take as long."""


def run_in_pieces(
    advance: Callable, count: int, carry: PyTree, *arguments: PyTree
) -> Iterator[PyTree]:
    """Runs `carry = advance(carry, start, stop, *arguments)` from 0 to `count`.

    A compiled program does not notice Ctrl-C. So there are several calls of one program, of about
    a second each, whatever a step takes; where they begin and end does not change the result.
    Within another program there is one call.

    Yields what is carried after each piece. The next piece uses its buffers again.
    """
    if is_inside((carry, arguments)):
        yield advance(carry, 0, count, *arguments)
        return
    bounds = lambda *numbers: [np.asarray(x, jnp.result_type(int)) for x in numbers]
    program = compile_program(advance, carry, *bounds(0, 1), *arguments, donated=0)
    start, size = 0, 1
    while start < count:
        stop = min(start + size, count)
        began = time.perf_counter()
        carry = jax.block_until_ready(program(carry, *bounds(start, stop), *arguments))
        seconds = time.perf_counter() - began
        yield carry
        start = stop
        if seconds < _LEAST_SECONDS:
            size *= 2
        elif seconds > 2 * _LEAST_SECONDS:
            size = max(1, size // 2)
