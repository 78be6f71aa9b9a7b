"""The derivative of a step's state with respect to preactivations and to the state before it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _rows as rows
from .layers import Entry
from .program import is_literal
from .telling import Traced

FlatState = Float[Array, " state"]


class Linearized(NamedTuple):
    """A derivative, and where it was taken.

    - `inputs`: the vector that each layer's matrix is multiplied by.
    - `push(state, preactivations)`: how the next state, flat, moves with the flat state before it
      and with each layer's preactivation, flat too.
    - `still`: arguments of `push` that are zero.
    """

    inputs: tuple[Float[Array, "..."], ...]
    push: Callable[[FlatState, list[Float[Array, "..."]]], FlatState]
    still: tuple[FlatState, list[Float[Array, "..."]]]

    def push_states(self, directions: Float[Array, "directions state"]) -> Array:
        """The next states' derivatives along directions of the state before it."""
        return jax.vmap(lambda direction: self.push(direction, self.still[1]))(directions)

    def push_layer(self, index: int, directions: Float[Array, "directions outputs"]) -> Array:
        """The next states' derivatives along directions of a layer's preactivation."""
        state, shifts = self.still
        along = lambda one: self.push(state, [*shifts[:index], one, *shifts[index + 1 :]])
        return jax.vmap(along)(directions)


def linearize(traced: Traced) -> Linearized:
    """The derivative of a traced step or start, at the values that it is run with."""
    leaves = traced.inputs
    num_params, num_states = map(len, traced.names)
    before, states = leaves[:num_params], leaves[num_params : num_params + num_states]
    after = leaves[num_params + num_states :]
    flat, unravel = rows.ravel(states)

    def run(flat, shifts):
        seen: dict[Any, Array] = {}
        added = {id(x.variable): shift for x, shift in zip(traced.found, shifts, strict=True)}

        def change(variable, value):
            if id(variable) in added:
                value = value + added[id(variable)].reshape(value.shape)
            seen[variable] = value
            return value

        outputs = traced.program.run([*before, *unravel(flat), *after], change)
        inputs = tuple(_join_inputs(x.entries, seen, leaves) for x in traced.found)
        return rows.ravel(outputs)[0], inputs

    shifts = [jnp.zeros(x.layer.num_outputs, x.variable.aval.dtype) for x in traced.found]
    _, push, inputs = jax.linearize(run, flat, shifts, has_aux=True)
    return Linearized(inputs, push, (jnp.zeros_like(flat), shifts))


def _join_inputs(entries: Sequence[Entry], seen: dict[Any, Array], leaves: list[Any]) -> Array:
    def one(entry):
        if entry.source is None:
            return jnp.ones(1)
        source = entry.source.val if is_literal(entry.source) else seen[entry.source]
        if jnp.issubdtype(source.dtype, jnp.inexact):
            return source.ravel()
        size = leaves[entry.leaf].shape[entry.inner[0]]
        return jax.nn.one_hot(jnp.clip(source, 0, size - 1), size)

    return jnp.concatenate([one(entry) for entry in entries])
