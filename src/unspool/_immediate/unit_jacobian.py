"""The part of a step's Jacobian that keeps to the units which a parameter moves at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .compressed import color_columns, directions_of
from .dependence import find_dependence
from .layers import Layer
from .linearize import Linearized, linearize
from .telling import AbstractReader, Told, Traced

Moved = tuple[tuple[int, ...], ...]
Pattern = Bool[np.ndarray, "..."]


class UnitFacts(eqx.Module):
    """The derivatives of the entries of the state that a preactivation moves within a step.

    - `moved`: for each entry of the preactivation the numbers of those entries of the flat state;
      where they are fewer, the size of the state stands for none.
    - `newest`: their derivatives with respect to the preactivation.
    - `carried`: their derivatives with respect to the same entries of the state before.
    """

    moved: Moved = eqx.field(static=True)
    newest: Float[Array, "*workers outputs moved"]
    carried: Float[Array, "*workers outputs moved moved"]


class UnitJacobian(AbstractReader):
    """For each layer its `UnitFacts`.

    They are found by as many derivatives as the pattern of the step's Jacobian makes necessary:
    where units do not read one another, by as many as a unit has numbers; otherwise by one for
    each number of the state.

    **Arguments:**

    - `exact`: take what is moved at any later time, instead of what is moved at once.

    **Raises:** `ValueError` if `exact`, and an entry of an array of the state depends on another
    entry of the same array at an earlier time.
    """

    exact: bool

    def read_start(self, start: Traced, step: Traced) -> Told:
        begins, steps = self._find_patterns(start, step)
        nothing = lambda moved: jnp.zeros((*np.shape(moved), np.shape(moved)[1]))
        return Told.join(
            _tell(begins, linearize(start), [nothing(moved) for moved in begins.moved]),
            _tell(steps, None, [nothing(moved) for moved in steps.moved]),
        )

    def read_step(self, start: Traced, step: Traced) -> Told:
        begins, steps = self._find_patterns(start, step)
        derivative = linearize(step)
        carried = _find_carried(derivative, _find_pattern(step)[0], begins.moved + steps.moved)
        count = len(begins.moved)
        return Told.join(
            _tell(begins, None, carried[:count]), _tell(steps, derivative, carried[count:])
        )

    def _find_patterns(self, start: Traced, step: Traced) -> tuple["_Patterns", "_Patterns"]:
        """The patterns of starts and of steps."""
        (_, begins), (transition, steps) = _find_pattern(start), _find_pattern(step)
        later = np.eye(len(transition), dtype=bool)
        if self.exact:
            later = _close(transition)
            _check_elementwise(later, step)
        list_moved = lambda pattern: _list_moved(_multiply(later, pattern))
        return (
            _Patterns(start.layers, begins, tuple(map(list_moved, begins))),
            _Patterns(step.layers, steps, tuple(map(list_moved, steps))),
        )


class _Patterns(NamedTuple):
    """Where the derivative of the next state with respect to each layer's preactivation may have
    entries, and what is moved, as in `UnitFacts`."""

    layers: tuple[Layer, ...]
    newest: tuple[Pattern, ...]
    moved: tuple[Moved, ...]


def _find_pattern(traced: Traced) -> tuple[Pattern, tuple[Pattern, ...]]:
    """Where derivatives with respect to the state before, and to each layer's preactivation, may
    have entries."""
    num_params, num_states = map(len, traced.names)
    states = traced.program.jaxpr.invars[num_params : num_params + num_states]
    sources = [*states, *(found.variable for found in traced.found)]
    outputs = find_dependence(traced.program, sources)
    total = sum(math.prod(source.aval.shape) for source in sources)
    flat = [x.reshape(math.prod(x.shape[:-1]), total) for x in outputs]
    whole = np.concatenate([np.zeros((0, total), bool), *flat])
    ends = np.cumsum([layer.num_outputs for layer in traced.layers][::-1], dtype=int)[::-1]
    before, *newest = np.split(whole, whole.shape[1] - ends, axis=1)
    return before, tuple(newest)


def _multiply(left: Pattern, right: Pattern) -> Pattern:
    return left.astype(np.float32) @ right.astype(np.float32) > 0


def _close(transition: Pattern) -> Pattern:
    """What depends on what after any number of steps."""
    closed = transition | np.eye(len(transition), dtype=bool)
    while np.any((twice := _multiply(closed, closed)) != closed):
        closed = twice
    return closed


def _check_elementwise(later: Pattern, step: Traced) -> None:
    sizes = [x.aval.shape for x in step.program.jaxpr.outvars]
    ends = np.cumsum([math.prod(shape) for shape in sizes])
    for name, moved in zip(step.names[1], np.split(later, ends)[:-1], strict=True):
        if np.any(moved.sum(axis=0) > 1):
            raise ValueError(
                f"a recurrence must be element-wise for exact influences at the cost of the "
                f"parameters; in {name} an entry depends on other entries of the array before: "
                "take RTRL or OK, or SnAp1, which leaves out what units make of one another"
            )


def _list_moved(pattern: Pattern) -> Moved:
    most = max(1, *pattern.sum(axis=0))
    pad = lambda rows: (*map(int, rows), *[len(pattern)] * (most - len(rows)))
    return tuple(pad(np.flatnonzero(column)) for column in pattern.T)


def _tell(patterns: _Patterns, derivative: Linearized | None, carried: Sequence[Array]) -> Told:
    """The facts of layers through which parameters enter now, or do not where nothing is given."""
    if derivative is None:
        inputs = tuple(jnp.zeros(layer.num_inputs) for layer in patterns.layers)
        newest = [jnp.zeros(np.shape(moved)) for moved in patterns.moved]
    else:
        inputs = derivative.inputs
        pairs = zip(patterns.newest, patterns.moved, strict=True)
        newest = [_find_newest(derivative, i, *pair) for i, pair in enumerate(pairs)]
    facts = map(UnitFacts, patterns.moved, newest, carried)
    return Told(patterns.layers, inputs, tuple(facts))


def _find_newest(derivative: Linearized, index: int, pattern: Pattern, moved: Moved) -> Array:
    colors = color_columns(pattern, pattern)
    still = derivative.still[1][index]
    products = derivative.push_layer(index, jnp.asarray(directions_of(colors), still.dtype))
    rows, columns = np.array(moved), np.arange(len(moved))[:, None]
    known = np.pad(pattern, ((0, 1), (0, 0)))
    products = jnp.pad(products, ((0, 0), (0, 1)))
    return jnp.where(known[rows, columns], products[colors[columns], rows], 0)


def _find_carried(derivative: Linearized, pattern: Pattern, moved: Sequence[Moved]) -> list[Array]:
    size = len(pattern)
    wanted = np.zeros((size + 1, size + 1), bool)
    rows = [np.array(row) for each in moved for row in each]
    for row in rows:
        wanted[np.ix_(row, row)] = True
    known = np.pad(pattern, ((0, 1), (0, 1)))
    colors = color_columns(wanted[:size, :size] & pattern, pattern)
    still = derivative.still[0]
    products = derivative.push_states(jnp.asarray(directions_of(colors), still.dtype))
    products, colors = jnp.pad(products, ((0, 0), (0, 1))), np.append(colors, 0)

    def one(moved: Moved) -> Array:
        rows, columns = np.array(moved)[:, :, None], np.array(moved)[:, None, :]
        return jnp.where(known[rows, columns], products[colors[columns], rows], 0)

    return [one(each) for each in moved]
