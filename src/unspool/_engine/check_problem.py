"""Checks of the results of a problem's methods, before anything runs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .. import _rows as rows
from .._custom_types import Params
from .._problem import AbstractProblem
from .._random import seeded_key


def check_problem(problem: AbstractProblem, params: Params) -> None:
    """Raises `ValueError` if a step does not return what another step can begin with."""
    key = jax.eval_shape(lambda: seeded_key(0))
    t = jax.ShapeDtypeStruct((), jnp.result_type(int))
    arrays, others = eqx.partition(params, eqx.is_array)
    whole = lambda arrays: eqx.combine(arrays, others)
    begin = lambda p, k: rows.strip_weak_type(problem.init_state(whole(p), key=k))
    before = jax.eval_shape(begin, arrays, key)
    step = lambda p, s, t, k: problem.step(whole(p), s, t, key=k)
    stepped = jax.eval_shape(step, arrays, before, t, key)
    if not isinstance(stepped, tuple) or len(stepped) != 2:
        raise ValueError(f"step must return a pair (state, loss), got {type(stepped).__name__}")
    after, loss = stepped
    if getattr(loss, "shape", None) != () or not _is_real(loss.dtype):
        raise ValueError(
            f"the loss that step returns must be a real scalar of shape (), got {_describe(loss)}"
        )
    _check_same_state(before, after)
    if problem.episodes.is_done is not None:
        _check_is_done(jax.eval_shape(problem.episodes.is_done, before))


def _check_is_done(done: Any) -> None:
    if getattr(done, "shape", None) != () or done.dtype != bool:
        raise ValueError(f"is_done must return a boolean of shape (), got {_describe(done)}")


def _is_real(dtype: Any) -> bool:
    """True if numbers of this type can be losses; NumPy does not know of all that JAX has."""
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _describe(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)


def _check_same_state(before: PyTree, after: PyTree) -> None:
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ValueError(
            f"step must return a state of the structure that init_state returned, "
            f"{jax.tree.structure(before)}, got {jax.tree.structure(after)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in pairs:
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} must keep its shape and type: init_state "
                f"returned {_describe(old)}, step returned {_describe(new)}"
            )
