"""Which entries of a program's outputs may depend on which entries of its variables."""

import functools as ft
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from .program import Program, inner_program, is_declared_entrywise, is_literal

Pattern = Bool[np.ndarray, "..."]

ENTRYWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil "
    "clamp convert_element_type copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor "
    "ge gt integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not "
    "or pow reduce_precision rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub "
    "tan tanh xor".split()
)
"""Primitives whose outputs' entries depend on the same entries of their inputs alone."""

MOVING = frozenset(
    "broadcast_in_dim concatenate cumsum expand_dims pad reduce_sum reshape rev slice split "
    "squeeze tile transpose".split()
)
"""Primitives that put entries elsewhere, or add some up, whatever their values."""


def find_dependence(program: Program, sources: Sequence[Any]) -> list[Pattern]:
    """For each output the entries of the source variables, one after the other, that it may
    depend on, along a last axis.

    Nothing is missed. Where a primitive is not known, all of its outputs depend on all that it is
    given.
    """
    sizes = [int(np.prod(source.aval.shape)) for source in sources]
    total, start, own = sum(sizes), 0, {}
    for source, size in zip(sources, sizes, strict=True):
        pattern = np.zeros((size, total), bool)
        pattern[:, start : start + size] = np.eye(size, dtype=bool)
        own[source] = pattern.reshape(*source.aval.shape, total)
        start += size
    jaxpr, seen = program.jaxpr, dict(own)
    _spread(program.equations, seen, own, total)
    return [_read(seen, x, total) for x in jaxpr.outvars]


def _spread(
    equations: Sequence[Any], seen: dict[Any, Pattern], own: dict[Any, Pattern], total: int
) -> None:
    """Adds the patterns of what the equations find to those that have been seen."""
    for equation in equations:
        given = [_read(seen, x, total) for x in equation.invars]
        outputs = _propagate(equation, given, total)
        for variable, pattern in zip(equation.outvars, outputs, strict=True):
            seen[variable] = pattern | own[variable] if variable in own else pattern


def _propagate(equation: Any, given: list[Pattern], total: int) -> list[Pattern]:
    shapes = [x.aval.shape for x in equation.outvars]
    name, inner = equation.primitive.name, inner_program(equation)
    if not any(np.any(pattern) for pattern in given):
        return [np.zeros((*shape, total), bool) for shape in shapes]
    if name in ENTRYWISE or is_declared_entrywise(equation):
        # A choice or a bound may be a scalar.
        spread = lambda x: np.broadcast_to(x, (*shapes[0], total))
        return [ft.reduce(np.logical_or, map(spread, given))] * len(shapes)
    if name in MOVING:
        return _run(equation, given)
    if name == "dot_general":
        left, right = given
        (first,) = _run(equation, [left, np.ones_like(right)])
        (second,) = _run(equation, [np.ones_like(left), right])
        return [first | second]
    if inner is not None:
        seen = dict(zip(inner.jaxpr.invars, given, strict=True))
        _spread(inner.jaxpr.eqns, seen, {}, total)
        return [_read(seen, x, total) for x in inner.jaxpr.outvars]
    any_of = lambda x: x.reshape(-1, total).any(axis=0)
    everything = ft.reduce(np.logical_or, map(any_of, given))
    return [np.broadcast_to(everything, (*shape, total)) for shape in shapes]


def _run(equation: Any, given: list[Pattern]) -> list[Pattern]:
    """The primitive itself says where entries go: it is run on zeros and ones."""
    params = equation.primitive.get_bind_params(equation.params)
    run = lambda *each: equation.primitive.bind(*each, **params)
    with jax.ensure_compile_time_eval():
        moved = jax.vmap(run, in_axes=-1, out_axes=-1)(*(jnp.asarray(x, float) for x in given))
    several = moved if equation.primitive.multiple_results else [moved]
    return [np.asarray(x) > 0 for x in several]


def _read(seen: dict[Any, Pattern], variable: Any, total: int) -> Pattern:
    if not is_literal(variable) and variable in seen:
        return seen[variable]
    return np.zeros((*variable.aval.shape, total), bool)
