"""The scale of perturbations: a number, a tree like the parameters, a schedule, or an object."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._custom_types import BoolScalar, IntScalar, Params, Scalar
from .._params import match
from .._show import show


class MadeUpdate(NamedTuple):
    """An update that has been made: its gradient, its statistics, and the parameters since.

    - `grad`: the estimate that it was made with.
    - `stats`: that estimate's statistics.
    - `updates`: what the optimizer has added to the parameters.
    - `params`: the parameters since.
    - `num_windows`: windows of an episode.
    - `ends_round`: true if every worker has begun an episode since the last such update, and none
      will begin another before the next update.
    """

    grad: Params
    stats: dict[str, Any]
    updates: Params
    params: Params
    num_windows: int
    ends_round: BoolScalar


class AbstractSigma(eqx.Module):
    """A scale of perturbations that is decided while training goes on.

    A direction keeps the scale that it was drawn with, of which the estimator keeps a `stamp`: a
    few numbers for each pair. What is learned changes after updates alone: estimates that nobody
    trains with have one scale.

    `waits_for_rounds` promises that what is learned changes the scale after updates alone that end
    a round. Directions that are coupled within a round then do not depend on their scale.

    **Example:**

    >>> from unspool.extend import AbstractSigma
    >>> class Falling(AbstractSigma):
    ...     def stamp(self, learned, update):
    ...         return update
    ...
    ...     def at(self, stamp):
    ...         return 0.4 / (1 + stamp)
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=Falling())
    >>> estimator.sigma.at(3)
    0.1
    """

    waits_for_rounds: ClassVar[bool] = False

    __repr__ = show

    def init(self, params: Params) -> PyTree[Any]:
        """The knowledge before the first update of such parameters; by default none."""
        return None

    @abc.abstractmethod
    def stamp(self, learned: PyTree[Any], update: IntScalar) -> PyTree[Any]:
        """A tree of scalars by which `at` knows the scale of a direction that is drawn now.

        `update` counts the estimates made so far.
        """

    @abc.abstractmethod
    def at(self, stamp: PyTree[Any]) -> PyTree[Any]:
        """The scale: a number, or a tree like the parameters of numbers or arrays."""

    def pace(self, learned: PyTree[Any], update: IntScalar) -> PyTree[Any]:
        """The scale that steps of `scale_by_sigma` follow; by default that of the noise."""
        return self.at(self.stamp(learned, update))

    def after_update(self, learned: PyTree[Any], made: MadeUpdate) -> PyTree[Any]:
        """The knowledge after an update; by default that from before."""
        return learned

    @property
    def learns(self) -> bool:
        """True if anything is learned."""
        return type(self).after_update is not AbstractSigma.after_update


class ConstantSigma(AbstractSigma):
    """The same scale throughout."""

    value: PyTree[Any]

    def stamp(self, learned, update):
        return None

    def at(self, stamp):
        return self.value


class ScheduledSigma(AbstractSigma):
    """A function from the number of estimates made so far to the scale."""

    schedule: Callable[[IntScalar], Any]

    def stamp(self, learned, update):
        return update

    def at(self, stamp):
        return self.schedule(stamp)


Sigma = float | Callable[[IntScalar], Any] | AbstractSigma | PyTree[Any]
"""A positive number; a tree like the parameters of positive numbers, or of arrays of the leaf's
shape (where a leaf is not trained, anything positive or `None` stands); a function from the
number of estimates made so far to either; or an `AbstractSigma`."""


def as_sigma(sigma: Sigma) -> Sigma:
    """Checks a scale of perturbations, and returns it with its numbers as arrays.

    It is the converter of an estimator's field `sigma`. A schedule or an `AbstractSigma`, whose
    values are known later, is returned as it is.

    **Raises:** `ValueError` for numbers that are not positive and finite.

    **Example:**

    >>> from unspool.extend import as_sigma
    >>> print(as_sigma(0.1))
    0.1
    >>> as_sigma({"rate": 0.1, "scale": -1.0})
    Traceback (most recent call last):
    ValueError: sigma must be greater than 0 and finite, got -1.0
    """
    if isinstance(sigma, AbstractSigma) or callable(sigma):
        return sigma
    for leaf in jax.tree.leaves(sigma):
        try:
            values = np.asarray(leaf, dtype=float)
        except (TypeError, ValueError, jax.errors.TracerArrayConversionError):
            if isinstance(leaf, jax.Array):
                continue
            raise ValueError(f"sigma must be made of positive numbers, got {leaf!r}") from None
        if not (np.all(values > 0) and np.all(np.isfinite(values))):
            raise ValueError(f"sigma must be greater than 0 and finite, got {leaf!r}")
    if not jax.tree.leaves(sigma):
        raise ValueError(f"sigma must hold at least one number, got {sigma!r}")
    return jax.tree.map(jnp.asarray, sigma)


def as_scale(sigma: Sigma) -> AbstractSigma:
    """The object that a sigma stands for."""
    if isinstance(sigma, AbstractSigma):
        return sigma
    return ScheduledSigma(sigma) if callable(sigma) else ConstantSigma(sigma)


def root_mean_square(value: PyTree[Any]) -> Scalar:
    """That of the numbers of a scale, whatever it is a scale of; NaN for none."""
    leaves = jax.tree.leaves(value)
    count = sum(jnp.size(leaf) for leaf in leaves)
    squares = [jnp.sum(jnp.square(jnp.asarray(leaf, float))) for leaf in leaves]
    return jnp.sqrt(sum(squares, jnp.zeros(())) / count) if count else jnp.array(jnp.nan)


def spread_scale(value: PyTree[Any], params: Params) -> Params:
    """The scale of every leaf that is trained, given a number or a tree."""
    if jax.tree_util.all_leaves([value]) and jnp.ndim(value) == 0:
        return jax.tree.map(lambda _: value, params)
    try:
        scales = match(params, value)
    except ValueError:
        raise ValueError(
            "sigma must be a number, or a tree of the structure of the parameters, "
            f"{jax.tree.structure(params)}, got {jax.tree.structure(value)}"
        ) from None
    for s, p in zip(jax.tree.leaves(scales), jax.tree.leaves(params), strict=True):
        if jnp.shape(s) not in ((), p.shape):
            raise ValueError(
                f"a leaf of sigma must be a scalar or of the shape of the parameters' leaf, "
                f"{list(p.shape)}, got shape {list(jnp.shape(s))}"
            )
    return scales
