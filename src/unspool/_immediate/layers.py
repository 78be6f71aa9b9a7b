"""Where parameters enter a program as a matrix times a vector."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Params
from .program import Program, is_literal


class Entry(NamedTuple):
    """A block of columns of a layer's matrix: a leaf of the parameters.

    - `leaf`: the number of the leaf.
    - `inner`, `outer`: its axes over which inputs are summed, and those that are left.
    - `source`: the variable that holds the inputs, or the index of a row of the leaf; `None` where
      the leaf itself is added, whose input is one.
    """

    leaf: int
    inner: tuple[int, ...]
    outer: tuple[int, ...]
    source: Any


class Layer(NamedTuple):
    r"""A preactivation, and the parameters that it is linear in.

    $$ p = \Theta v + \text{other}, \qquad
       \frac{\partial s}{\partial \Theta} = \frac{\partial s}{\partial p} \otimes v $$

    The matrix $\Theta$ has the columns of all leaves that are summed in one preactivation, such as
    weights of inputs, weights of states, and a bias, for which an entry of $v$ is one.

    - `leaves`, `axes`: for each block of columns the number of its leaf, and that leaf's inner and
      outer axes.
    - `sizes`: how many columns each block has.
    - `shape`: of the preactivation.
    """

    leaves: tuple[int, ...]
    axes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    sizes: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def num_inputs(self) -> int:
        return sum(self.sizes)

    @property
    def num_outputs(self) -> int:
        return math.prod(self.shape)


class FoundLayer(NamedTuple):
    """A layer, the variable that is its preactivation, and the sources of its inputs."""

    layer: Layer
    variable: Any
    entries: tuple[Entry, ...]


def find_layers(program: Program, leaves: Sequence[Any]) -> tuple[FoundLayer, ...]:
    """The layers through which a program's first inputs, the given leaves, reach its outputs."""
    found: dict[Any, list[Entry]] = {}
    for number, leaf in enumerate(leaves):
        variable = program.jaxpr.invars[number]
        if program.needs(variable):
            for entry, product in _enter(program, number, len(leaf.shape)):
                found.setdefault(_follow(program, product), []).append(entry)
    return tuple(_as_layer(variable, entries, leaves) for variable, entries in found.items())


def gather_gradient(
    layers: Sequence[Layer],
    blocks: Sequence[Float[Array, "..."]],
    params: Params,
) -> Params:
    """A tree like the parameters, of a matrix of outputs x inputs for each of some layers; zero
    where there is none."""
    leaves, structure = jax.tree.flatten(params)
    sums = [jnp.zeros_like(leaf) for leaf in leaves]
    for layer, block in zip(layers, blocks, strict=True):
        start = 0
        for number, (inner, outer), size in zip(layer.leaves, layer.axes, layer.sizes, strict=True):
            shape = leaves[number].shape
            columns = block[:, start : start + size]
            part = columns.reshape([shape[axis] for axis in (*outer, *inner)])
            order = sorted(range(len(shape)), key=(*outer, *inner).__getitem__)
            sums[number] += part.transpose(order).astype(leaves[number].dtype)
            start += size
    return jax.tree.unflatten(structure, sums)


def _as_layer(variable: Any, entries: list[Entry], leaves: Sequence[Any]) -> FoundLayer:
    size = lambda entry: math.prod(leaves[entry.leaf].shape[axis] for axis in entry.inner)
    layer = Layer(
        tuple(entry.leaf for entry in entries),
        tuple((entry.inner, entry.outer) for entry in entries),
        tuple(map(size, entries)),
        tuple(variable.aval.shape),
    )
    return FoundLayer(layer, variable, tuple(entries))


def _enter(program: Program, leaf: int, ndim: int) -> list[tuple[Entry, Any]]:
    """The entries of a leaf, each with the variable that holds its product with the inputs.

    Where it is used for anything but such products, the leaf itself is what is perturbed.
    """
    axes, variable = tuple(range(ndim)), program.jaxpr.invars[leaf]
    views, found = [(variable, axes)], []
    for view, order in views:
        for equation in _readers(program, view):
            name = equation.primitive.name
            if name == "transpose":
                permuted = tuple(order[i] for i in equation.params["permutation"])
                views.append((equation.outvars[0], permuted))
            elif name == "convert_element_type":
                views.append((equation.outvars[0], order))
            elif (product := _product(equation, view, order)) is not None:
                found.append((Entry(leaf, *product), equation.outvars[0]))
            else:
                return [(Entry(leaf, (), axes, None), variable)]
        if any(view is x for x in program.jaxpr.outvars):
            return [(Entry(leaf, (), axes, None), variable)]
    return found


def _product(equation: Any, view: Any, order: tuple[int, ...]) -> tuple[Any, ...] | None:
    """Inner axes, outer axes and source of a product with a vector, or of the choice of a row."""
    if equation.primitive.name == "dot_general":
        (contracted, batch), side = equation.params["dimension_numbers"], 0
        if equation.invars[1] is view:
            side = 1
        other = equation.invars[1 - side]
        if other is view or any(batch) or len(other.aval.shape) != len(contracted[1 - side]):
            return None
        # Inputs are raveled in the order of their own axes.
        pairs = sorted(zip(contracted[1 - side], contracted[side], strict=True))
        inner = tuple(order[axis] for _, axis in pairs)
        outer = tuple(axis for i, axis in enumerate(order) if i not in contracted[side])
        return inner, outer, other
    if equation.primitive.name == "dynamic_slice" and equation.invars[0] is view:
        sizes, shape = equation.params["slice_sizes"], view.aval.shape
        cut = [i for i, (size, whole) in enumerate(zip(sizes, shape, strict=True)) if size < whole]
        if len(cut) == 1 and sizes[cut[0]] == 1:
            outer = tuple(axis for i, axis in enumerate(order) if i != cut[0])
            return (order[cut[0]],), outer, equation.invars[1 + cut[0]]
    return None


def _follow(program: Program, variable: Any) -> Any:
    """The last variable to which this one is merely added."""
    while True:
        readers = _readers(program, variable)
        if len(readers) != 1 or any(variable is x for x in program.jaxpr.outvars):
            return variable
        (after,) = readers[0].outvars[:1]
        is_sum = readers[0].primitive.name in {"add", "add_any"}
        if not is_sum or (after.aval.shape, after.aval.dtype) != (
            variable.aval.shape,
            variable.aval.dtype,
        ):
            return variable
        variable = after


def _readers(program: Program, variable: Any) -> list[Any]:
    """The equations that read a variable, one for each time."""
    return [
        equation
        for equation in program.equations
        for read in equation.invars
        if not is_literal(read) and read is variable
    ]
