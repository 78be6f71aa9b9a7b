"""Checks of what the methods of a host problem return, by shape and type."""

import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._black_box import HostState


class MisuseError(ValueError):
    """A method has returned what it may not: a mistake in the problem, not a row that fails."""


def check_pair(problem: object, value: Any, names: str) -> tuple[Any, Any]:
    """The two parts of what `step` has returned.

    **Raises:** `MisuseError` if it is not a pair.
    """
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value[0], value[1]
    found = _describe(value)
    if isinstance(value, (tuple, list)):
        found = f"a {type(value).__name__} of {len(value)}"
    raise MisuseError(f"step of {_name(problem)} must return a pair, {names}, got {found}")


def check_states(
    problem: object, method: str, value: HostState, num_rows: int, like: HostState | None
) -> HostState:
    """States as arrays, with leaves of the shapes and types of those of `like`, if given.

    **Raises:** `MisuseError` if a leaf is no array of numbers, does not lead with the rows, or
    differs from its counterpart in more than their number.
    """
    leaves, structure = jax.tree.flatten(value)
    arrays = list(map(_as_array, leaves))
    old, wanted = jax.tree.flatten(like) if like is not None else (arrays, structure)
    name = _name(problem)
    if structure != wanted:
        raise MisuseError(
            f"states must keep their shapes and types: {method} of {name} returned {structure}, "
            f"where init_state returned {wanted}"
        )
    for place, (array, before) in enumerate(zip(arrays, old, strict=True)):
        if not (array.dtype == bool or jnp.issubdtype(array.dtype, np.number)):
            raise MisuseError(
                f"the states of {name} must be arrays of numbers or booleans: {method} returned "
                f"{_describe(leaves[place])} as {_leaf_name(value, place)}"
            )
        if array.shape[:1] != (num_rows,):
            raise MisuseError(
                f"the states of {name} must lead with an axis of rows: {method} returned "
                f"{_describe(array)} as {_leaf_name(value, place)} for {num_rows} rows"
            )
        if array.shape[1:] != before.shape[1:] or array.dtype != before.dtype:
            raise MisuseError(
                f"states must keep their shapes and types: {method} of {name} returned "
                f"{_describe(array)} as {_leaf_name(value, place)}, where init_state returned "
                f"{(num_rows, *before.shape[1:])} of {before.dtype} for as many rows"
            )
    return jax.tree.unflatten(structure, arrays)


def check_losses(problem: object, value: Any, num_rows: int) -> np.ndarray:
    """The losses of rows in double precision.

    **Raises:** `MisuseError` unless there is a real number for each row.
    """
    losses = _as_array(value)
    if losses.shape != (num_rows,) or not _is_real(losses):
        raise MisuseError(
            f"step of {_name(problem)} must return one loss for each row, real numbers of shape "
            f"({num_rows},), got {_describe(value)} for {num_rows} rows"
        )
    return losses.astype(float)


def check_done(problem: object, value: Any, num_rows: int) -> np.ndarray:
    """A boolean for each row: true where the episode is over.

    **Raises:** `MisuseError` unless there is a boolean for each row.
    """
    done = _as_array(value)
    if done.shape != (num_rows,) or done.dtype != bool:
        raise MisuseError(
            f"is_done of {_name(problem)} must return one boolean for each row, of shape "
            f"({num_rows},), got {_describe(value)} for {num_rows} rows"
        )
    return done


def check_actions(problem: object, value: Any, num_rows: int) -> list[Any]:
    """The actions of rows, one by one.

    **Raises:** `MisuseError` unless there is one for each row, in order.
    """
    ordered = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping, Set))
    # An array without an axis can be iterated over by its type alone.
    actions = list(value) if ordered and getattr(value, "ndim", 1) != 0 else None
    if actions is None or len(actions) != num_rows:
        found = _describe(value) if actions is None else f"{len(actions)} actions"
        raise MisuseError(
            f"actions of {_name(problem)} must return one action for each of the simulators, "
            f"got {found} for {num_rows} simulators"
        )
    return actions


def check_step(problem: object, value: Any) -> tuple[float, bool]:
    """The loss of a simulator's step, and whether the episode has ended with it.

    **Raises:** `MisuseError` unless they are a real number and a boolean.
    """
    loss, done = check_pair(problem, value, "the loss and whether the episode is over")
    # Most often they are, and there are many of them.
    if type(loss) is float and type(done) is bool:
        return loss, done
    number, all_done = _as_array(loss), _as_array(done)
    if number.shape != () or not _is_real(number):
        raise MisuseError(
            f"step of {_name(problem)} must return a real number as the loss, got {_describe(loss)}"
        )
    if all_done.shape != () or all_done.dtype != bool:
        raise MisuseError(
            f"step of {_name(problem)} must return a boolean for whether the episode is over, "
            f"got {_describe(done)}"
        )
    return float(number), bool(all_done)


def _as_array(value: Any) -> np.ndarray:
    """An array of it, of type object if it is none of numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return np.array(None)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _is_real(array: np.ndarray) -> bool:
    return array.dtype.kind in "iuf" or bool(jnp.issubdtype(array.dtype, np.floating))


def _leaf_name(state: HostState, place: int) -> str:
    path, _ = jax.tree_util.tree_leaves_with_path(state)[place]
    return f"state{jax.tree_util.keystr(path)}"


def _describe(value: Any) -> str:
    """A few words on something that was not wanted."""
    array = _as_array(value)
    if array.dtype == object or isinstance(value, (str, bytes)):
        return f"{reprlib.repr(value)} of type {type(value).__name__}"
    if array.shape == () and not isinstance(value, (np.ndarray, jax.Array)):
        return f"{reprlib.repr(value)} of type {type(value).__name__}"
    return f"{array.shape} of {array.dtype}"


def _name(problem: object) -> str:
    return type(problem).__name__
