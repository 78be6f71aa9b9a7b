"""Recurrent cells written in many ways, each in a problem of a few units."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

import unspool
from unspool.extend import entrywise

INPUTS, UNITS = 2, 3


class Cell(NamedTuple):
    """A function from parameters, input and state to the next state, and where these begin."""

    advance: Callable[[Any, Any, Any], Any]
    shapes: Any
    blank: Any = (UNITS,)
    start: Callable[[Any], Any] | None = None


class CellProblem(unspool.AbstractProblem):
    """A cell that is given known inputs, and whose state is to be small, with weights of a loss."""

    cell: Cell = eqx.field(static=True)
    horizon: int = 4

    def init_params(self, *, key):
        is_shape = lambda x: isinstance(x, tuple) and all(isinstance(n, int) for n in x)
        shapes, structure = jax.tree.flatten(self.cell.shapes, is_leaf=is_shape)
        keys = jax.random.split(jax.random.key(3), len(shapes))
        drawn = [0.8 * jax.random.normal(*pair) for pair in zip(keys, shapes, strict=True)]
        return jax.tree.unflatten(structure, drawn)

    def init_state(self, params, *, key):
        if self.cell.start is not None:
            return self.cell.start(params)
        is_shape = lambda x: all(isinstance(n, int) for n in x)
        return jax.tree.map(jnp.zeros, self.cell.blank, is_leaf=is_shape)

    def step(self, params, state, t, *, key):
        shown = jnp.cos(jnp.arange(1.0, INPUTS + 1) * (t + 1))
        state = self.cell.advance(params, shown, state)
        leaves = jax.tree.leaves(state)
        return state, sum(jnp.sum((leaf - 0.3) ** 2) for leaf in leaves)


WEIGHTS = {"w": (UNITS, INPUTS), "r": (UNITS, UNITS), "b": (UNITS,)}


def plain(params, shown, state):
    return jnp.tanh(params["w"] @ shown + params["r"] @ state + params["b"])


def one_matrix(params, shown, state):
    return jnp.tanh(params @ jnp.concatenate([state, shown, jnp.ones(1)]))


def transposed(params, shown, state):
    pre = shown @ params["w"] + jnp.einsum("ij,i->j", params["r"], state)
    return jnp.tanh(pre) + params["b"] * state


def highway(params, shown, state):
    """Two layers within a step, the second of which reads the first."""
    for w, r in params["layers"]:
        gate, fresh = jnp.split(w @ shown + r @ state, 2)
        state = state + jax.nn.sigmoid(gate) * (jnp.tanh(fresh) - state)
    return state


def first_gru(params, shown, state):
    """With the reset before the product, as first published."""
    reset, keep = jnp.split(jax.nn.sigmoid(params["w"] @ shown + params["r"] @ state), 2)
    fresh = jnp.tanh(params["v"] @ shown + params["s"] @ (reset * state) + params["b"])
    return keep * state + (1 - keep) * fresh


def twice(params, shown, state):
    """The same matrix in two products, one of the other's result."""
    return jnp.tanh(params["r"] @ jnp.tanh(params["r"] @ state + params["w"] @ shown))


def jitted(params, shown, state):
    part = jax.jit(lambda x: jax.nn.relu(params["r"] @ x + params["b"]))
    return 0.5 * state + part(state) + params["w"] @ shown


def row(params, shown, state):
    """A table of which a row is read, and a readout that is a vector."""
    index = jnp.argmax(shown)
    return jnp.tanh(params["table"][index] + params["r"] @ state + jnp.vdot(params["out"], state))


def learned_start(params):
    return jnp.tanh(params["r"] @ jnp.arange(1.0, UNITS + 1) + params["b"])


def of_module(module, advance):
    """A function of a module, and of what is no array in it, as one of shapes."""
    arrays, rest = eqx.partition(module, eqx.is_array)
    whole = lambda params: eqx.combine(params, rest)
    return Cell(
        lambda params, shown, state: advance(whole(params), shown, state),
        jax.tree.map(lambda x: x.shape, arrays),
    )


def of_cell(kind):
    return of_module(kind(INPUTS, UNITS, key=jax.random.key(0)), lambda cell, *given: cell(*given))


def of_linears():
    make = lambda size, bias: eqx.nn.Linear(size, UNITS, bias, key=jax.random.key(0))
    advance = lambda both, shown, state: jnp.tanh(both[0](shown) + both[1](state))
    return of_module([make(INPUTS, True), make(UNITS, False)], advance)


PRODUCTS = {
    "plain": Cell(plain, WEIGHTS),
    "one matrix": Cell(one_matrix, (UNITS, UNITS + INPUTS + 1)),
    "transposed": Cell(transposed, WEIGHTS | {"w": (INPUTS, UNITS)}),
    "highway": Cell(highway, {"layers": [((2 * UNITS, INPUTS), (2 * UNITS, UNITS))] * 2}),
    "first GRU": Cell(
        first_gru,
        {
            "w": (2 * UNITS, INPUTS),
            "r": (2 * UNITS, UNITS),
            "v": (UNITS, INPUTS),
            "s": (UNITS, UNITS),
            "b": (UNITS,),
        },
    ),
    "twice": Cell(twice, WEIGHTS),
    "jitted": Cell(jitted, WEIGHTS),
    "row": Cell(row, {"table": (4, UNITS), "r": (UNITS, UNITS), "out": (UNITS,)}),
    "learned start": Cell(plain, WEIGHTS, start=learned_start),
    "eqx.nn.GRUCell": of_cell(eqx.nn.GRUCell),
    "eqx.nn.LSTMCell": of_cell(eqx.nn.LSTMCell)._replace(blank=((UNITS,), (UNITS,))),
    "eqx.nn.Linear": of_linears(),
}
"""Cells whose matrices enter by products with vectors."""


def independent(params, shown, state):
    """IndRNN (Li et al., 2018)."""
    return jnp.tanh(params["w"] @ shown + params["d"] * state + params["b"])


def elementwise_lstm(params, shown, state):
    """Irie et al. (2023), with a state of two arrays that read one another, unit by unit."""
    hidden, cell = state
    gates = params["w"] @ shown + params["d"] * jnp.tile(hidden, 3) + params["b"]
    keep, fresh, leave = jnp.split(gates, 3)
    keep = jax.nn.sigmoid(keep)
    cell = keep * cell + (1 - keep) * jnp.tanh(fresh)
    return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


def complex_diagonal(params, shown, state):
    """Linear recurrent units (Orvieto et al., 2023), with real and imaginary parts apart."""
    size, angle = jnp.exp(-jnp.exp(params["size"])), params["angle"]
    real, imaginary = size * jnp.cos(angle), size * jnp.sin(angle)
    x, y = state
    return (
        real * x - imaginary * y + params["w"] @ shown,
        imaginary * x + real * y + params["v"] @ shown,
    )


@entrywise
def settle(state, drive):
    return jax.lax.fori_loop(0, 3, lambda _, x: 0.5 * (x + jnp.tanh(x + drive)), state)


def declared(params, shown, state):
    """A loop within each unit, in which what depends on what cannot be seen."""
    return settle(params["d"] * state, params["w"] @ shown)


ELEMENTWISE = {
    "declared": Cell(declared, {"w": (UNITS, INPUTS), "d": (UNITS,)}),
    "IndRNN": Cell(independent, {"w": (UNITS, INPUTS), "d": (UNITS,), "b": (UNITS,)}),
    "element-wise LSTM": Cell(
        elementwise_lstm,
        {"w": (3 * UNITS, INPUTS), "d": (3 * UNITS,), "b": (3 * UNITS,)},
        ((UNITS,), (UNITS,)),
    ),
    "complex diagonal": Cell(
        complex_diagonal,
        {"w": (UNITS, INPUTS), "v": (UNITS, INPUTS), "size": (UNITS,), "angle": (UNITS,)},
        ((UNITS,), (UNITS,)),
    ),
}
"""Cells whose units do not read one another."""
