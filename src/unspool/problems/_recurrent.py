"""Recurrent cells by their names, each with a state and a linear readout."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import RandomKey

Vector = Float[Array, " units"]


class TanhCell(eqx.Module):
    """The plain recurrent cell, with the fields and the start of `equinox.nn.GRUCell`.

    $$ h' = \\tanh (W_{ih} x + W_{hh} h + b) $$
    """

    weight_ih: Float[Array, "units inputs"]
    weight_hh: Float[Array, "units units"]
    bias: Vector

    def __init__(self, input_size: int, hidden_size: int, *, key: RandomKey):
        bound = 1 / math.sqrt(hidden_size)
        shapes = (hidden_size, input_size), (hidden_size, hidden_size), (hidden_size,)
        keys = jax.random.split(key, 3)
        draw = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        drawn = (draw(*pair) for pair in zip(keys, shapes, strict=True))
        self.weight_ih, self.weight_hh, self.bias = drawn

    def __call__(self, input: Float[Array, " inputs"], hidden: Vector) -> Vector:
        return jnp.tanh(self.weight_ih @ input + self.weight_hh @ hidden + self.bias)


class IndependentCell(eqx.Module):
    """The plain cell whose units read themselves alone (Li et al., IndRNN, 2018).

    $$ h' = \\tanh (W_{ih} x + w_{hh} h + b) $$

    with the product of two vectors, entry by entry.
    """

    weight_ih: Float[Array, "units inputs"]
    weight_hh: Vector
    bias: Vector

    def __init__(self, input_size: int, hidden_size: int, *, key: RandomKey):
        cell_key, key = jax.random.split(key)
        cell = TanhCell(input_size, hidden_size, key=cell_key)
        self.weight_ih, self.bias = cell.weight_ih, cell.bias
        self.weight_hh = jax.random.uniform(key, (hidden_size,), minval=0.0, maxval=1.0)

    def __call__(self, input: Float[Array, " inputs"], hidden: Vector) -> Vector:
        return jnp.tanh(self.weight_ih @ input + self.weight_hh * hidden + self.bias)


CELLS: dict[str, Any] = {
    "gru": eqx.nn.GRUCell,
    "independent": IndependentCell,
    "lstm": eqx.nn.LSTMCell,
    "tanh": TanhCell,
}
"""A function from sizes of input and of state, and a key, to a cell."""


class RecurrentNet(eqx.Module):
    """A cell, and a linear readout of what it remembers."""

    cell: Any
    readout: eqx.nn.Linear

    def __init__(self, cell: str, sizes: tuple[int, int, int], *, key: RandomKey):
        """A net of `sizes` inputs, units and outputs."""
        num_inputs, num_units, num_outputs = sizes
        cell_key, readout_key = jax.random.split(key)
        self.cell = CELLS[cell](num_inputs, num_units, key=cell_key)
        self.readout = eqx.nn.Linear(num_units, num_outputs, key=readout_key)

    def __call__(self, input: Float[Array, " inputs"], memory: Any) -> tuple[Any, Array]:
        """The memory after an input, and what is read out of it."""
        memory = self.cell(input, memory)
        return memory, self.readout(memory[0] if isinstance(memory, tuple) else memory)


def blank_memory(cell: str, num_units: int) -> Any:
    """The memory before the first input: zeros, for `lstm` two arrays of them."""
    zeros = jnp.zeros(num_units)
    return (zeros, zeros) if cell == "lstm" else zeros


def check_cell(cell: str) -> None:
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}")
