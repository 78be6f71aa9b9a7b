"""Arithmetic on trees whose leaves lead with axes of arms and workers.

The only broadcasting in the library: everything else works on one trajectory, or calls these.
"""

import functools as ft
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped, UInt32

from ._custom_types import IntScalar, Params, RealScalar, Scalar, WorkerMask, WorkerValues

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def widening(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Lets arithmetic of the library combine types, whatever JAX is told about users' own."""

    @ft.wraps(function)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return run


class Sum(NamedTuple):
    """A running sum, and what rounding has added to it so far (Kahan, 1965)."""

    value: Float[Array, "..."]
    excess: Float[Array, "..."]

    @classmethod
    def zero(cls) -> "Sum":
        """A sum of nothing."""
        nothing = jnp.zeros((), jnp.result_type(float))
        return cls(nothing, nothing)

    def add(self, term: Shaped[Array, "..."] | float) -> "Sum":
        """The sum with one more term. For derivatives it is a sum like any other."""
        term = jnp.asarray(term, self.value.dtype) - self.excess
        value = self.value + term
        return Sum(value, jax.lax.stop_gradient((value - self.value) - term))


def add(params: Params, shift: PyTree | None) -> Params:
    """The parameters of one row; where there is no shift they stay as they are."""
    move = lambda s, p: p if s is None else (p.astype(s.dtype) + s).astype(p.dtype)
    return jax.tree.map(move, shift, params, is_leaf=lambda s: s is None)


def widen(tree: PyTree) -> PyTree:
    """Half precision as float32, in which noise is drawn and gradients are added up."""
    one = lambda x: x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
    return jax.tree.map(one, tree)


def select(mask: Bool[Array, "..."], chosen: PyTree, other: PyTree) -> PyTree:
    """Row by row, one of two trees. The axes of `mask` are the leading axes of every leaf."""
    one = lambda m, x, y: jax.tree.map(ft.partial(jnp.where, m), x, y)
    for _ in range(mask.ndim):
        one = jax.vmap(one)
    return one(mask, chosen, other)


def constant_where(mask: Bool[Array, "..."], tree: PyTree) -> PyTree:
    """The same tree, with no derivative in the rows of `mask`."""
    floats, rest = split_floats(tree)
    return eqx.combine(select(mask, jax.lax.stop_gradient(floats), floats), rest)


def select_worker(mask: WorkerMask, chosen: PyTree, other: PyTree) -> PyTree:
    """As `select`, for leaves of arms x workers and a mask that all arms of a worker share."""
    return jax.tree.map(jax.vmap(ft.partial(select, mask)), chosen, other)


@widening
def multiply(left: RealScalar, right: RealScalar) -> RealScalar:
    """The product of two numbers of any types."""
    return left * right


@widening
def scale(factors: Float[Array, "..."], tree: PyTree) -> PyTree:
    """Every row times its own factor."""
    multiply = lambda f, x: jax.tree.map(lambda leaf: (f * leaf).astype(leaf.dtype), x)
    for _ in range(factors.ndim):
        multiply = jax.vmap(multiply)
    return multiply(factors, tree)


def masked_sum(tree: PyTree[Float[Array, "..."]], mask: Bool[Array, "..."]) -> PyTree:
    """The sum over the rows in `mask`, whose axes are the leading axes of every leaf."""
    kept = select(mask, tree, zeros_like(tree))
    axes = tuple(range(mask.ndim))
    return jax.tree.map(lambda x: jnp.sum(x, axis=axes), kept)


def sum_by(index: Int[Array, " workers"], tree: PyTree, count: int) -> PyTree:
    """Sums of what pairs x workers have, apart for each of `count` values of the workers' index."""
    add = lambda x: jnp.zeros(count, x.dtype).at[index].add(jnp.sum(x, axis=0))
    return jax.tree.map(add, tree)


@widening
def dot(
    left: PyTree[Float[Array, "workers ..."]], right: PyTree[Float[Array, "workers ..."]]
) -> WorkerValues:
    """The inner product of each worker's two trees."""
    products = lambda x, y: jax.tree.leaves(jax.tree.map(jnp.vdot, x, y))
    return jax.vmap(lambda x, y: sum(products(x, y), jnp.zeros(())))(left, right)


def arms(*trees: PyTree) -> PyTree:
    """Trees of workers as the arms of one tree of arms x workers."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def arm(tree: PyTree[Shaped[Array, "arms workers ..."]], index: int) -> PyTree:
    """One arm of every worker."""
    return jax.tree.map(lambda x: x[index], tree)


def join_arms(first: PyTree, second: PyTree) -> PyTree:
    """The arms of two trees of arms x workers, one after the other."""
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), first, second)


def take_slice(tree: PyTree, start: IntScalar | int, size: int, axis: int) -> PyTree:
    """`size` neighboring entries of an axis."""
    cut = lambda x: jax.lax.dynamic_slice_in_dim(x, start, size, axis)
    return jax.tree.map(cut, tree)


def update_slice(tree: PyTree, new: PyTree, start: IntScalar | int, axis: int) -> PyTree:
    """The tree with neighboring entries of an axis replaced; the inverse of `take_slice`."""
    paste = lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, axis)
    return jax.tree.map(paste, tree, new)


def in_blocks(
    advance: Callable[[PyTree, IntScalar | int, int], PyTree], held: PyTree, count: int, size: int
) -> PyTree:
    """The result of `advance(held, start, size)` for block after block of `count` entries.

    Each block is put back where it was taken from, so that everything is held once. The last one
    may be smaller.
    """
    rest = count % size
    step = lambda held, start: (advance(held, start, size), None)
    held, _ = jax.lax.scan(step, held, jnp.arange(0, count - rest, size))
    return advance(held, count - rest, rest) if rest else held


def flatten(tree: PyTree[Shaped[Array, "arms workers ..."]]) -> PyTree:
    """Arms and workers as one axis of rows, arm after arm."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def unflatten(tree: PyTree, num_arms: int) -> PyTree[Shaped[Array, "arms workers ..."]]:
    """Rows as arms and workers; the inverse of `flatten`."""
    return jax.tree.map(lambda x: x.reshape(num_arms, -1, *x.shape[1:]), tree)


def repeat(tree: PyTree, count: int) -> PyTree:
    """A new leading axis of `count` equal entries."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)


@widening
def ravel(tree: PyTree) -> tuple[Float[Array, " entries"], Callable[[Array], PyTree]]:
    """All entries of a tree in one array, of the type that holds them all, and the way back."""
    return ravel_pytree(tree)


def norm(tree: PyTree[Float[Array, "workers ..."]]) -> WorkerValues:
    """The Euclidean norm of each worker's tree."""
    return jnp.sqrt(dot(tree, tree))


@widening
def squared_norm(tree: PyTree[Float[Array, "..."]], mask: Bool[Array, "..."]) -> Scalar:
    """The sum of the squared norms of the rows in `mask`, whose axes lead those of every leaf."""
    kept = select(mask, tree, zeros_like(tree))
    squares = [jnp.sum(jnp.square(x), dtype=jnp.result_type(float)) for x in jax.tree.leaves(kept)]
    return sum(squares, jnp.zeros(()))


def all_finite(tree: PyTree[Float[Array, "workers ..."]]) -> WorkerMask:
    """True for each worker whose tree is free of infinities and NaNs."""
    finite = lambda x: jnp.all(jnp.array([jnp.all(jnp.isfinite(y)) for y in jax.tree.leaves(x)]))
    return jax.vmap(finite)(tree)


def positions(x: Array) -> UInt32[Array, "..."]:
    """The number of each entry of an array, in an array of its shape."""
    return jnp.arange(x.size, dtype=jnp.uint32).reshape(x.shape)


def strip_weak_type(tree: PyTree) -> PyTree:
    """Arrays whose types no longer follow those of their neighbors."""

    def one(x):
        x = jnp.asarray(x)
        # Keys have no such thing.
        weak = getattr(x, "weak_type", False)
        return jax.lax.convert_element_type(x, x.dtype) if weak else x

    return jax.tree.map(one, tree)


def num_bytes(tree: PyTree) -> int:
    """The size of the floats of a tree."""
    floats = (x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact))
    return sum(x.size * x.dtype.itemsize for x in floats)


def zeros_like(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


def split_floats(tree: PyTree) -> tuple[PyTree, PyTree]:
    """The leaves that have derivatives, and the rest; `equinox.combine` joins them again."""
    return eqx.partition(tree, eqx.is_inexact_array)
