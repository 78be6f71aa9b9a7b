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
"""Weights beyond this, whose squares float32 cannot add up, do not occur."""

_DECAY = 0.95
"""What is left of a baseline's sums after one more pair."""


class Weighted(eqx.Module):
    """The coefficients of a pair's noise and of its drift in what it says of the gradient."""

    noise: PairValues
    drift: PairValues


class Weights(eqx.Module):
    r"""Importance weights of pairs that began at $\theta_0 \pm \sigma z$, for parameters $\theta$.

    With $\delta = (\theta - \theta_0) / \sigma$, today's parameters would have needed the noise
    $\pm z - \delta$ for the same arms, and the ratio of the densities is

    $$ \log w_\pm = \pm z \cdot \delta - \tfrac12 |\delta|^2 $$

    - `plus`, `minus`: $w_\pm$.
    - `square`, `along`, `drift`: $|z|^2$, $z \cdot \delta$ and $|\delta|^2$.
    """

    plus: PairValues
    minus: PairValues
    square: PairValues
    along: PairValues
    drift: PairValues

    @classmethod
    def of(cls, noise: PairTree, drift: Params, most: float | None) -> "Weights":
        """Those of standard normal directions, given each group's drift; `most` clips them."""
        of_pair = lambda z: (rows.dot(z, z), rows.dot(z, drift), rows.dot(drift, drift))
        square, along, length = jax.vmap(of_pair)(noise)
        log_most = LARGEST_LOG_WEIGHT if most is None else jnp.log(most)
        weight = lambda along: jnp.exp(jnp.minimum(along - length / 2, log_most))
        return cls(weight(along), weight(-along), square, along, length)

    def weigh(self, plus: PairValues, minus: PairValues) -> Weighted:
        r"""$\tfrac12 \sum_\pm w_\pm \ell_\pm (\pm z - \delta)$ for values of the two arms."""
        plus, minus = self.plus * plus, self.minus * minus
        return Weighted((plus - minus) / 2, -(plus + minus) / 2)

    def dot(self, left: Weighted, right: Weighted) -> PairValues:
        """The inner product of what pairs say."""
        mixed = left.noise * right.drift + left.drift * right.noise
        return (
            left.noise * right.noise * self.square
            + mixed * self.along
            + left.drift * right.drift * self.drift
        )


class Baseline(eqx.Module):
    r"""The number that is taken off all losses of a window.

    $$ b_k = \frac{\sum A \cdot B}{\sum B \cdot B}, \qquad
       A = \tfrac12 \sum_\pm w_\pm \ell_\pm (\pm z - \delta), \quad
       B = \tfrac12 \sum_\pm w_\pm (\pm z - \delta) $$

    over pairs of earlier episodes that have gone through the window: by least squares, the number
    that leaves the least of $A - b_k B$. The mean of $B$ is zero, so that it changes no mean.

    - `product`, `square`: the sums for each window. Older pairs fade.
    """

    product: Float[Array, " windows"]
    square: Float[Array, " windows"]

    @classmethod
    def of(cls, num_windows: int) -> "Baseline":
        """That before the first pair, which is zero."""
        return cls(jnp.zeros(num_windows), jnp.zeros(num_windows))

    @property
    def value(self) -> Float[Array, " windows"]:
        """The number of each window."""
        known = self.square > 0
        return jnp.where(known, self.product / jnp.where(known, self.square, 1), 0)

    def learn(self, deposits: Deposits) -> "Baseline":
        """With the products and squares of some more pairs."""
        fade = _DECAY**deposits.visits
        product, square = deposits.sums
        return Baseline(fade * self.product + product, fade * self.square + square)
