"""The losses of a segment, added up so that the difference of a pair survives."""

import jax
import jax.numpy as jnp

from .. import _rows as rows

ARMS = "arms"
"""The name of the mapped axis of arms, within which a row finds the first one."""

# So few losses are added up without compensation, which would cost a small step half of its speed.
_BLOCK = 128


def sum_losses(advance, row, num_steps: int, kind):
    """The row after `num_steps` times `advance(row, step)`, and the sum of the losses.

    An arm's losses are added up as what they exceed the first arm's by: sums of large losses,
    rounded step by step, would lose the difference of a pair. Blocks of steps are added up with
    compensation.
    """
    is_first = jax.lax.axis_index(ARMS) == 0
    of_first = lambda x: jax.lax.all_gather(x, ARMS)[0]

    def add_up(row, first, count):
        def one(carry, _):
            row, total, i = carry
            row, loss = advance(row, i)
            return (row, total + jnp.where(is_first, loss, loss - of_first(loss)), i + 1), None

        carry = row, jnp.zeros((), jnp.result_type(float)), jnp.asarray(first, kind)
        return jax.lax.scan(one, carry, length=count)[0][:2]

    def block(carry, first):
        row, total = carry
        row, part = add_up(row, first, size)
        return (row, total.add(part)), None

    if num_steps <= _BLOCK:
        row, total = add_up(row, 0, num_steps)
    else:
        # Steps that are left over are compiled once more, so that a divisor is worth looking for.
        size = max(n for n in range(1, _BLOCK + 1) if num_steps % n == 0)
        size = size if size > _BLOCK // 4 else _BLOCK
        rest = num_steps % size
        firsts = jnp.arange(0, num_steps - rest, size, dtype=kind)
        (row, blocks), _ = jax.lax.scan(block, (row, rows.Sum.zero()), firsts)
        if rest:
            row, part = add_up(row, num_steps - rest, rest)
            blocks = blocks.add(part)
        total = blocks.value
    return row, jnp.where(is_first, total, total + of_first(total))
