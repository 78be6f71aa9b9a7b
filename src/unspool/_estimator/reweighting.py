"""Importance weights of pairs of arms, and the baseline that is taken off their losses."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _rows as rows
from .._custom_types import PairValues, Params
from .perturbation import PairTree
from .perturbed_state import Deposits

LARGEST_LOG_WEIGHT = 40.0
"""Larger weights, whose squares float32 cannot add up, do not occur."""

_MEMORY = 0.9
"""What is left of a baseline's sums after one more pair."""


class Coefficients(eqx.Module):
    r"""The coefficients of noise $z$ and drift $\delta$ in the gradients of pairs."""

    noise: PairValues
    drift: PairValues


class Weights(eqx.Module):
    r"""Importance weights of pairs that began at $\theta_0 \pm \sigma z$, for parameters $\theta$.

    With $\delta = (\theta - \theta_0) / \sigma$, today's parameters would have needed the noise
    $\pm z - \delta$ for the same arms, and the ratio of the densities is

    $$ \log w_\pm = \pm z \cdot \delta - \tfrac12 |\delta|^2 $$
    """

    plus: PairValues
    minus: PairValues

    @classmethod
    @rows.widening
    def of(cls, noise: PairTree, drift: Params, most: float | None) -> "Weights":
        """Those of standard normal directions, given each group's drift; `most` clips them."""
        along = jax.vmap(lambda z: rows.dot(z, drift))(noise)
        square = rows.repeat(rows.dot(drift, drift), along.shape[0])
        log_most = LARGEST_LOG_WEIGHT if most is None else jnp.log(most)
        weight = lambda along: jnp.exp(jnp.minimum(along - square / 2, log_most))
        return cls(weight(along), weight(-along))

    @property
    def of_arms(self) -> Float[Array, "arms workers"]:
        """Those of all arms of pairs: the first of each, then the second of each."""
        return rows.join_arms(self.plus, self.minus)

    @rows.widening
    def weigh(self, plus: PairValues | float, minus: PairValues | float) -> Coefficients:
        r"""Those of $\tfrac12 \sum_\pm w_\pm \ell_\pm (\pm z - \delta)$ for both losses."""
        plus, minus = self.plus * plus, self.minus * minus
        return Coefficients((plus - minus) / 2, -(plus + minus) / 2)


class Baseline(eqx.Module):
    r"""The number that is taken off all losses of a window: their mean in earlier episodes.

    $$ b_k = \frac{\sum w \ell}{\sum w} $$

    over arms of pairs that have gone through window $k$. It changes no mean, as that of
    $w_\pm (\pm z - \delta)$ is zero.

    - `losses`, `weights`: the two sums for each window. Older pairs fade.
    """

    losses: Float[Array, " windows"]
    weights: Float[Array, " windows"]

    @classmethod
    def of(cls, num_windows: int) -> "Baseline":
        """That before the first pair, which is zero."""
        return cls(jnp.zeros(num_windows), jnp.zeros(num_windows))

    @property
    def value(self) -> Float[Array, " windows"]:
        """The number of each window."""
        known = self.weights > 0
        return jnp.where(known, self.losses / jnp.where(known, self.weights, 1), 0)

    @rows.widening
    def learn(self, deposits: Deposits) -> "Baseline":
        """With what some more pairs add."""
        fade = _MEMORY**deposits.visits
        losses, weights = deposits.sums
        return Baseline(fade * self.losses + losses, fade * self.weights + weights)
