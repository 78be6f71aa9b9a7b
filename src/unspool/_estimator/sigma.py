"""The scale of perturbations: a number, a tree like the parameters, or a schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, IntScalar, Params
from .._params import match

Sigma = Any
"""A positive number; a tree like the parameters of positive numbers, or of arrays of the leaf's
shape (where a leaf is not trained, anything positive or `None` stands); or a function from the
number of estimates made so far to either."""


def as_sigma(sigma: Sigma) -> Sigma:
    """Sigma as arrays, checked. Schedules are taken as they are: their values come later."""
    if callable(sigma):
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


def least_sigma(sigma: Sigma, params: Params, update: IntScalar, drawn_at: Clocks) -> Params:
    """The smallest scale of each leaf, of noise drawn now or earlier."""
    now = sigma_at(sigma, params, update)
    if not callable(sigma):
        return now
    return jax.tree.map(jnp.minimum, now, sigma_at(sigma, params, jnp.min(drawn_at)))


def sigma_at(sigma: Sigma, params: Params, update: Any) -> Params:
    """The scale of every leaf that is trained, for noise drawn at the given update."""
    value: Any = sigma(update) if callable(sigma) else sigma
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


@rows.widening
def _scale(noise: Params, sigmas: Params) -> tuple[Params, Params]:
    perturbation = jax.tree.map(lambda z, s: (z * s).astype(z.dtype), noise, sigmas)
    score = jax.tree.map(lambda z, s: (z / s).astype(z.dtype), noise, sigmas)
    return perturbation, score


def scale_noise(
    sigma: Sigma, params: Params, drawn_at: Clocks, noise: PyTree[Float[Array, "workers ..."]]
) -> tuple[PyTree[Float[Array, "workers ..."]], PyTree[Float[Array, "workers ..."]]]:
    r"""The perturbation $\sigma z$ and the score $z / \sigma$ of each worker's direction $z$.

    Both with the sigma of the update at which the direction was drawn: a schedule that moves on
    during an episode then biases nothing.
    """

    def one(noise, drawn_at):
        sigmas = sigma_at(sigma, params, drawn_at)
        return _scale(noise, sigmas)

    return jax.vmap(one)(noise, drawn_at)
