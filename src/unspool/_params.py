"""Parameters as users give them: of any tree the real floating point arrays are trained."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from . import _rows as rows
from ._custom_types import Params


class Fixed(eqx.Module):
    """The leaves of parameters that are not trained.

    - `arrays`: integers, booleans and keys, `None` elsewhere.
    - `static`: everything else, such as functions and Python numbers: the structure of the tree,
      and each leaf with its type, for 1 equals True and 1.0.
    """

    arrays: PyTree[Any]
    static: tuple[Any, tuple[tuple[type, Any], ...]] = eqx.field(static=True)

    @property
    def is_empty(self) -> bool:
        return not (jax.tree.leaves(self.arrays) or self.static[1])


def is_float_array(x: Any) -> bool:
    """True for an array of floats, those that only JAX knows of included."""
    return eqx.is_array(x) and jnp.issubdtype(x.dtype, jnp.inexact)


def split(params: Params) -> tuple[Params, Fixed]:
    """The trained leaves, with `None` elsewhere, and the rest; `join` is the inverse."""
    trained, rest = eqx.partition(params, is_float_array)
    arrays, others = eqx.partition(rest, eqx.is_array)
    leaves, structure = jax.tree.flatten(others)
    return trained, Fixed(arrays, (structure, tuple((type(leaf), leaf) for leaf in leaves)))


def count_numbers(params: Params) -> int:
    """How many numbers the leaves hold that are trained."""
    leaves = [x for x in jax.tree.leaves(params) if hasattr(x, "dtype")]
    return sum(np.size(x) for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def join(trained: Params, fixed: Fixed) -> Params:
    """The parameters as the user gave them."""
    structure, leaves = fixed.static
    others = jax.tree.unflatten(structure, [leaf for _, leaf in leaves])
    return eqx.combine(trained, fixed.arrays, others)


def map_arrays(change: Callable[[Any], Any], params: Params) -> Params:
    """The parameters with every array changed, and all other leaves as they are."""
    return jax.tree.map(lambda x: change(x) if eqx.is_array(x) else x, params)


def take(tree: PyTree[Any], rows: Any) -> PyTree[Any]:
    """Some rows of every array; all other leaves belong to every row."""
    return map_arrays(lambda x: x[rows], tree)


def match(trained: Params, tree: PyTree[Any]) -> PyTree[Any]:
    """The leaves of a tree of the structure of the parameters, or of what is trained of them,
    that belong to what is trained.

    **Raises:** `ValueError` for a tree of another structure.
    """
    leaves, structure = jax.tree.flatten(trained, is_leaf=_is_none)
    given = structure.flatten_up_to(tree)
    kept = [None if x is None else y for x, y in zip(leaves, given, strict=True)]
    if not jax.tree_util.all_leaves(y for y in kept if y is not None):
        raise ValueError(f"a leaf must not be a tree, got {jax.tree.structure(tree)}")
    if any(x is not None and y is None for x, y in zip(leaves, kept, strict=True)):
        raise ValueError(f"a leaf that is trained is missing in {jax.tree.structure(tree)}")
    return jax.tree.unflatten(structure, kept)


def as_arrays(params: Params) -> Params:
    """The result of a problem's `init_params`, with Python's floats as arrays.

    Those in fields of an `equinox.Module` are settings of the module, and stay as they are.
    """

    def convert(path, leaf):
        return jnp.asarray(leaf) if _is_loose_float(params, path, leaf) else leaf

    return strip_weak_type(jax.tree_util.tree_map_with_path(convert, params))


def strip_weak_type(params: Params) -> Params:
    """Arrays whose types no longer follow those of their neighbors; other leaves as they are."""
    return map_arrays(rows.strip_weak_type, params)


def check_params(params: Params) -> None:
    """Raises `ValueError` unless there is something to train, all of it finite, and every leaf can
    be carried along."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError(f"params must hold at least one array, got {params!r}")
    for path, leaf in leaves:
        name = "params" + jax.tree_util.keystr(path)
        if eqx.is_array(leaf):
            _check_array(name, leaf)
        elif _is_loose_float(params, path, leaf):
            raise ValueError(
                f"{name} must be an array of real floats, got {type(leaf).__name__}: "
                f"jnp.array({leaf!r}) is trained"
            )
        elif not _is_hashable(leaf):
            raise ValueError(
                f"{name} must be an array or hashable to be carried along with the parameters, "
                f"got {type(leaf).__name__}"
            )
    if not jax.tree.leaves(eqx.filter(params, is_float_array)):
        path, leaf = leaves[0]
        kind = getattr(leaf, "dtype", type(leaf).__name__)
        raise ValueError(
            f"params{jax.tree_util.keystr(path)} must be an array of real floats, got {kind}: "
            "there is nothing to train"
        )


def _check_array(name: str, leaf: Any) -> None:
    if jnp.iscomplexobj(leaf):
        raise ValueError(f"{name} must be an array of real floats, got {leaf.dtype}")
    if not any(jnp.issubdtype(leaf.dtype, kind) for kind in _CARRIED):
        raise ValueError(f"{name} must be made of numbers, booleans or keys, got {leaf.dtype}")
    # In NumPy, so that known values can be looked at inside of a compiled function too.
    if is_float_array(leaf) and not isinstance(leaf, Tracer):
        if count := int(np.sum(~np.isfinite(leaf))):
            raise ValueError(
                f"{name} must be finite, got {count} of {leaf.size} entries NaN or infinite"
            )


_CARRIED = np.number, jnp.inexact, np.bool_, jax.dtypes.prng_key


def _is_loose_float(params: Params, path: tuple[Any, ...], leaf: Any) -> bool:
    """True for a Python number with a fraction that is no field of an equinox module."""
    if not isinstance(leaf, (float, complex)) or eqx.is_array(leaf):
        return False
    return not isinstance(_find(params, path[:-1]), eqx.Module)


def _find(tree: Any, path: tuple[Any, ...]) -> Any:
    """The node at a path, or `None` where the path does not say how to get there."""
    for step in path:
        if isinstance(step, jax.tree_util.GetAttrKey):
            tree = getattr(tree, step.name)
        elif isinstance(step, jax.tree_util.DictKey):
            tree = tree[step.key]
        elif isinstance(step, jax.tree_util.SequenceKey):
            tree = tree[step.idx]
        else:
            return None
    return tree


def _is_hashable(leaf: Any) -> bool:
    try:
        hash(leaf)
    except TypeError:
        return False
    return True


def _is_none(x: Any) -> bool:
    return x is None
