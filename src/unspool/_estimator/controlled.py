"""Measurements of which a control variate has taken its part."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .. import _rows as rows
from .._custom_types import PairValues
from .control import AbstractControl
from .perturbation import PairTree
from .probe import Measurement


class Controlled(NamedTuple):
    """A measurement after a control.

    - `derivative`: what is left of each pair's.
    - `guess`: each group's, times its coefficient; `None` without a control.
    - `deposits`: each pair's.
    - `uncontrolled`: groups whose guess was not finite.
    """

    derivative: PairValues
    guess: PyTree[Any] = None
    deposits: PyTree[Any] = None
    uncontrolled: Int[Array, " workers"] | None = None


def apply_control(
    control: AbstractControl | None,
    learned: PyTree[Any],
    measured: Measurement,
    along: PairTree,
) -> Controlled:
    """The derivatives without the part that a guess explains.

    `learned` is what is known of the window that each group goes through.
    """
    guess, derivative = measured.guess, measured.derivative
    if control is None:
        return Controlled(derivative)
    # By its norm: of a guess whose squares overflow, the product with a direction may.
    known = jnp.isfinite(rows.norm(guess))
    coefficient = jax.vmap(lambda learned, _: control.coefficient(learned))
    a = jnp.asarray(coefficient(learned, known), derivative.dtype)
    if not control.replaces_newest_score:
        a = jnp.where(known, a, 0)
        guess = rows.select(known, guess, rows.zeros_like(guess))
    explained = jax.vmap(lambda along: rows.dot(guess, along))(along)
    deposits = jax.vmap(jax.vmap(control.deposit))(derivative, explained)
    derivative = derivative - rows.repeat(a, len(derivative)) * explained
    return Controlled(derivative, rows.scale(a, guess), deposits, (~known).astype(int))
