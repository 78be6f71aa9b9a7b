"""The parameters that episodes have begun with, and how many workers reach each window."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, Params, RandomKey, WorkerMask
from .._random import Purpose, stream
from .sigma import AbstractSigma, spread_scale

LEAST_SHARE = 0.25
"""Of the workers that a window would have without restarts, so many go on to it at least."""


class Starts(eqx.Module):
    r"""The parameters with which the workers in each window have begun their episodes.

    A window is run in every update, so that a worker in window $k$ has begun $k$ updates ago: what
    is kept are the parameters of as many updates as an episode has windows, none for each worker.

    - `params`: those of that update.
    - `stamp`: by which sigma knows the scale that directions were drawn with then.
    - `share`: the probability for a worker to be in each window now. It follows from the path of
      the parameters alone.
    """

    params: PyTree[Float[Array, "windows ..."]]
    stamp: PyTree[Any]
    share: Float[Array, " windows"]

    @classmethod
    def of(cls, params: Params, stamp: PyTree[Any], num_windows: int) -> "Starts":
        """Those of workers spread evenly over an episode, with the same parameters."""
        of_windows = lambda tree: rows.repeat(jax.tree.map(jnp.asarray, tree), num_windows)
        return cls(of_windows(params), of_windows(stamp), jnp.full(num_windows, 1 / num_windows))

    def begin(self, params: Params, stamp: PyTree[Any]) -> "Starts":
        """With those of workers that begin an episode now."""
        push = lambda new, old: jnp.roll(old, 1, axis=0).at[0].set(new)
        params = jax.tree.map(push, params, self.params)
        return Starts(params, jax.tree.map(push, stamp, self.stamp), self.share)

    @property
    def correction(self) -> Float[Array, " windows"]:
        """How many times a worker in each window counts, for as many to be there as elsewhere."""
        return 1 / (self.share.size * self.share)

    def at(self, window: Clocks) -> "Starts":
        """Those of the workers in these windows."""
        return jax.tree.map(lambda x: x[window], self)

    def drifts(self, params: Params, scale: AbstractSigma) -> "Drift":
        """How far parameters are from those of each of these starts."""
        return jax.vmap(lambda start: _measure_drift(params, start, scale))(self)


class Drift(NamedTuple):
    r"""How far parameters have moved since episodes began.

    - `sigmas`: $\delta = (\theta - \theta_0) / \sigma$, with the sigma that was drawn with then.
    - `score`: $\delta / \sigma$.
    """

    sigmas: PyTree[Float[Array, "starts ..."]]
    score: PyTree[Float[Array, "starts ..."]]


@rows.widening
def _measure_drift(params: Params, start: Starts, scale: AbstractSigma) -> Drift:
    sigma = spread_scale(scale.at(start.stamp), params)
    divide = lambda x, s: (x / s).astype(x.dtype)
    moved = jax.tree.map(jnp.subtract, rows.widen(params), rows.widen(start.params))
    sigmas = jax.tree.map(divide, moved, sigma)
    return Drift(sigmas, jax.tree.map(divide, sigmas, sigma))


class Restarts(eqx.Module):
    r"""New episodes for workers whose parameters have been left behind.

    Where the parameters have drifted by more than `most` sigmas since a worker began, it begins
    anew, but for a quarter of the workers that there would be without restarts: a window that
    nobody reaches has no estimate. Who goes on is drawn by lot. Neither noise nor losses are asked,
    so that a worker in window $k$ of $n$ counts $1 / (n p_k)$ times, where $p_k$ is the probability
    to be there.

    - `most`: in sigmas, as a norm.
    """

    most: float

    def keep(self, starts: Starts, drift: Drift) -> Float[Array, " windows"]:
        """The probability to go on, in each window."""
        enough = LEAST_SHARE * starts.correction
        return jnp.where(rows.norm(drift.sigmas) > self.most, jnp.minimum(enough, 1), 1.0)

    def draw(
        self, key: RandomKey, episode: Clocks, window: Clocks, keep: Float[Array, " windows"]
    ) -> WorkerMask:
        """The workers that begin anew, of those in these windows."""
        keys = jax.vmap(lambda *place: stream(key, Purpose.RESTART, *place))(episode, window)
        return jax.vmap(jax.random.uniform)(keys) >= keep[window]

    def share_after(
        self, starts: Starts, keep: Float[Array, " windows"]
    ) -> Float[Array, " windows"]:
        """The probability to be in each window, one update later."""
        older = jnp.roll(starts.share * keep, 1).at[0].set(0.0)
        return older.at[0].set(1 - jnp.sum(older))
