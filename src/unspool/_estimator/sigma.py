"""The scale of perturbations: a number, a tree like the parameters, or a schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._custom_types import Clocks, IntScalar, Params

Sigma = Any
"""A positive number; a tree like the parameters of positive numbers, or of arrays of the leaf's
shape; or a function from the number of estimates made so far to either."""


def as_sigma(sigma: Sigma) -> Sigma:
    """Sigma as arrays, checked. Schedules are taken as they are: their values come later."""
    if callable(sigma):
        return sigma
    for leaf in jax.tree.leaves(sigma, is_leaf=lambda x: x is None):
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


def least(sigma: Sigma, params: Params, update: IntScalar, drawn_at: Clocks) -> Params:
    """The smallest scale of each leaf, of noise drawn now or earlier."""
    now = _at(sigma, params, update)
    if not callable(sigma):
        return now
    return jax.tree.map(jnp.minimum, now, _at(sigma, params, jnp.min(drawn_at)))


def _at(sigma: Sigma, params: Params, update) -> Params:
    """The scale of every leaf, for noise drawn at the given update."""
    value: Any = sigma(update) if callable(sigma) else sigma
    if jax.tree.structure(value) == jax.tree.structure(params):
        for s, p in zip(jax.tree.leaves(value), jax.tree.leaves(params), strict=True):
            if jnp.shape(s) not in ((), p.shape):
                raise ValueError(
                    f"a leaf of sigma must be a scalar or of the shape of the parameters' leaf, "
                    f"{list(p.shape)}, got shape {list(jnp.shape(s))}"
                )
        return value
    if jnp.ndim(value) == 0 and len(jax.tree.leaves(value)) == 1:
        return jax.tree.map(lambda _: value, params)
    raise ValueError(
        "sigma must be a number, or a tree of the structure of the parameters, "
        f"{jax.tree.structure(params)}, got {jax.tree.structure(value)}"
    )


def scale_noise(
    sigma: Sigma, params: Params, drawn_at: Clocks, noise: PyTree[Float[Array, "workers ..."]]
) -> tuple[PyTree[Float[Array, "workers ..."]], PyTree[Float[Array, "workers ..."]]]:
    r"""The perturbation $\sigma z$ and the score $z / \sigma$ of each worker's direction $z$.

    Both with the sigma of the update at which the direction was drawn: a schedule that moves on
    during an episode then biases nothing.
    """

    def one(noise, drawn_at):
        sigmas = _at(sigma, params, drawn_at)
        perturbation = jax.tree.map(lambda z, s: (z * s).astype(z.dtype), noise, sigmas)
        score = jax.tree.map(lambda z, s: (z / s).astype(z.dtype), noise, sigmas)
        return perturbation, score

    return jax.vmap(one)(noise, drawn_at)
