"""What limits a training: the noise of an update, that of an episode's updates, or lag."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from . import _rows as rows
from ._custom_types import IntScalar, Params, Scalar
from ._estimator import Estimate
from ._estimator.sigma import root_mean_square, spread_scale

MEMORY = 0.8
"""The weight of what was known before an episode: a mean is over the last five or so."""


class Reading(NamedTuple):
    """The numbers of a meter; NaN before the first episode has ended, and where there are none.

    - `episode_variance`: the variance of the mean of an episode's estimates, all parameters'
      together.
    - `signal_to_noise`: the squared norm of the gradient over that.
    - `lag`: how far the parameters have gone in the last episode, in sigmas, as the root mean
      square over them.
    """

    episode_variance: float
    signal_to_noise: float
    lag: float


class Meter(eqx.Module):
    """Sums over the updates of an episode, and what the episodes before have shown.

    An episode here is as many updates as an episode has windows: every worker goes through each
    window once.

    - `grad`, `noise`: sums of estimates and of their noise since the episode began; `noise` is
      `None` where estimates have none.
    - `start`: the parameters when it began.
    - `square`, `variance`: means over episodes of the squared norms of their mean estimates and
      noises, each times `weight`, which goes from zero to one.
    - `lag`: as in `Reading`.
    """

    grad: Params
    noise: Params | None
    start: Params
    square: Scalar
    variance: Scalar
    weight: Scalar
    lag: Scalar

    @classmethod
    def of(cls, params: Params, has_noise: bool) -> "Meter":
        """That of a training that begins at these parameters."""
        none, zero = rows.zeros_like(rows.widen(params)), jnp.zeros(())
        start = jax.tree.map(jnp.copy, params)
        return cls(none, none if has_noise else None, start, zero, zero, zero, zero * jnp.nan)

    def after(
        self,
        estimate: Estimate,
        params: Params,
        sigma: PyTree[Any],
        update: IntScalar,
        num_windows: int,
    ) -> "Meter":
        """With one more update, that of number `update`, which was made to `params`.

        `sigma` is the scale of the noise; `None` where nothing is perturbed.
        """
        add = lambda old, new: jax.tree.map(lambda x, y: x + y.astype(x.dtype), old, new)
        grad, noise = add(self.grad, estimate.grad), add(self.noise, estimate.noise)

        def conclude():
            keep = lambda old, new: MEMORY * old + (1 - MEMORY) * new
            square = lambda total: _norm(total) ** 2 / num_windows**2
            return Meter(
                grad=rows.zeros_like(grad),
                noise=rows.zeros_like(noise),
                start=params,
                square=keep(self.square, square(grad)),
                variance=keep(self.variance, 0.0 if noise is None else square(noise)),
                weight=keep(self.weight, 1.0),
                lag=_distance(params, self.start, sigma),
            )

        go_on = lambda: replace(self, grad=grad, noise=noise)
        return jax.lax.cond(update % num_windows == 0, conclude, go_on)

    def read(self) -> Reading:
        """The numbers as they stand, on the host."""
        lag = float(self.lag)
        if self.noise is None or float(self.weight) == 0:
            return Reading(math.nan, math.nan, lag)
        variance, square = float(self.variance), float(self.square)
        ratio = square / variance - 1 if variance > 0 else math.inf
        return Reading(variance / float(self.weight), ratio, lag)


def _norm(tree: Params) -> Scalar:
    return rows.norm(rows.repeat(tree, 1))[0]


@rows.widening
def _distance(params: Params, start: Params, sigma: PyTree[Any]) -> Scalar:
    if sigma is None:
        return jnp.full((), jnp.nan)
    scale = spread_scale(sigma, params)
    return root_mean_square(jax.tree.map(lambda x, y, s: (x - y) / s, params, start, scale))
