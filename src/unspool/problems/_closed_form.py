"""Shared code of the closed-form gradients: a `Target`, step by step, in NumPy."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from .._custom_types import Params
from .._target import Target

Vector = Float[np.ndarray, " params"]


def flatten(params: Params) -> Vector:
    """The parameters as one float64 vector, leaf after leaf."""
    leaves = [np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(params)]
    return np.concatenate(leaves)


def unflatten(vector: Vector, params: Params) -> Params:
    """The inverse of `flatten`: float64 arrays in a tree like `params`."""
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = np.split(vector, ends)
    shaped = [np.reshape(part, np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def flatten_sigma(target: Target, params: Params) -> Vector:
    """The noise's standard deviation for each entry of `flatten(params)`."""
    leaves, structure = jax.tree.flatten(params)
    if jax.tree.structure(target.sigma) == structure:
        sigmas = jax.tree.leaves(target.sigma)
    elif jax.tree.structure(target.sigma).num_nodes == 1 and np.ndim(target.sigma) == 0:
        sigmas = [target.sigma] * len(leaves)
    else:
        raise ValueError(
            f"sigma must be a scalar or a tree like params, got {target.sigma!r}; "
            f"the structure of params is {structure}"
        )
    each = zip(sigmas, leaves, strict=True)
    return flatten([np.broadcast_to(np.asarray(s), np.shape(leaf)) for s, leaf in each])


def window_starts(horizon: int, target: Target) -> np.ndarray:
    """For each step, the first step of the window that holds it."""
    window = target.window or horizon
    return np.arange(horizon) // window * window


def gain_and_variance(
    features: Float[np.ndarray, "steps params"], target: Target, sigma: Vector
) -> tuple[Float[np.ndarray, "steps params"], Float[np.ndarray, " steps"]]:
    r"""Sensitivity and variance of a state that sums up copies of the parameters.

    For $s_{t+1} = s_t + f_t \cdot \theta_t$, the derivative of $s_{t+1}$ with respect to a common
    shift of the copies that count, and the variance of $s_{t+1}$ under their noise. The mean of
    $s_{t+1}$ is the value without noise.
    """
    horizon = len(features)
    steps = np.arange(horizon)
    loss_step, copy = steps[:, None], steps[None, :]
    counts = (copy >= window_starts(horizon, target)[:, None]) & (copy <= loss_step)
    influence = counts[:, :, None] * features
    blocks = steps // (target.period or horizon)
    is_in_block = np.equal.outer(blocks, np.arange(blocks[-1] + 1)).astype(np.float64)
    per_block = np.einsum("tsp,sb->tbp", influence, is_in_block)
    return influence.sum(axis=1), np.sum((per_block * sigma) ** 2, axis=(1, 2))


def ramp(horizon: int) -> Float[np.ndarray, "steps 2"]:
    r"""The features $(1, t/T)$ of an increment that changes linearly over the episode."""
    return np.stack([np.ones(horizon), np.arange(horizon) / horizon], axis=1)


class LinearSystem(NamedTuple):
    r"""A linear state $s_{t+1} = A s_t + B \theta$ and its quadratic loss
    $\ell_t = \frac{1}{2} (s_{t+1} - y)^\top Q (s_{t+1} - y)$: $A$, $B$, $Q$, $y$ and $s_0$."""

    transition: Float[np.ndarray, "size size"]
    control: Float[np.ndarray, "size params"]
    cost: Float[np.ndarray, "size size"]
    goal: Float[np.ndarray, " size"]
    start: Float[np.ndarray, " size"]


def linear_quadratic_gradient(system: LinearSystem, params: Vector, starts: np.ndarray) -> Vector:
    """The gradient of the time average, with windows that begin at `starts`. Noise on the
    copies does not change it, for the loss is quadratic in them."""
    transition, control, cost, goal, state = system
    influence, total = np.zeros_like(control), np.zeros_like(params)
    for t, window_start in enumerate(starts):
        carried = influence if window_start < t else np.zeros_like(influence)
        influence = transition @ carried + control
        state = transition @ state + control @ params
        total = total + influence.T @ (cost @ (state - goal))
    return total / len(starts)
