"""Perturbations of the parameters of each pair."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree, Shaped, UInt32

from .. import _rows as rows
from .._custom_types import Params
from .rounding import hold_pair
from .sigma import AbstractSigma, spread_scale

PairTree = PyTree[Float[Array, "pairs workers ..."]]


class Perturbation(eqx.Module):
    r"""The perturbation of each pair, and what follows from it.

    - `along`: $\sigma z$, along which derivatives are measured.
    - `score`: $z / \sigma$.
    - `plus`, `minus`: the shifts of two arms at plus and minus it, as their parameters can hold
      them; `None` for probes that have no use for them.
    """

    along: PairTree
    score: PairTree
    plus: PairTree | None = None
    minus: PairTree | None = None

    def pair_shifts(self) -> PyTree[Float[Array, "arms workers ..."]]:
        """The shifts of the arms of pairs: the first of each, then the second of each."""
        return rows.join_arms(self.plus, self.minus)

    def no_shift(self) -> PyTree[Float[Array, "1 workers ..."]]:
        """That of an unperturbed arm."""
        return rows.arms(rows.zeros_like(rows.arm(self.along, 0)))


def perturb(
    params: Params,
    noise: PairTree,
    scale: AbstractSigma,
    stamp: PyTree,
    dither: UInt32[Array, "pairs workers"] | None,
) -> Perturbation:
    """The perturbation along a direction, with the scale of the time at which it was drawn.

    A schedule that moves on during an episode then biases nothing. Without `dither` no arm is
    shifted.
    """
    one = lambda *drawn: _perturb_pair(params, scale, *drawn)
    return Perturbation(*jax.vmap(jax.vmap(one))(noise, stamp, dither))


def perturb_each(
    params: PyTree[Shaped[Array, "workers ..."]],
    noise: PairTree,
    scale: AbstractSigma,
    stamp: PyTree,
    dither: UInt32[Array, "pairs workers"],
) -> Perturbation:
    """As `perturb`, where each worker has parameters of its own."""
    one = lambda params, *drawn: _perturb_pair(params, scale, *drawn)
    of_pairs = jax.vmap(jax.vmap(one), in_axes=(None, 0, 0, 0))
    return Perturbation(*of_pairs(params, noise, stamp, dither))


def _perturb_pair(params: Params, scale: AbstractSigma, noise: Params, stamp: PyTree, dither):
    sigma = spread_scale(scale.at(stamp), params)
    along, score = _scale(noise, sigma)
    pair = (None, None) if dither is None else hold_pair(params, along, sigma, dither)
    return along, score, *pair


@rows.widening
def _scale(noise: Params, sigma: Params) -> tuple[Params, Params]:
    along = jax.tree.map(lambda z, s: (z * s).astype(z.dtype), noise, sigma)
    score = jax.tree.map(lambda z, s: (z / s).astype(z.dtype), noise, sigma)
    return along, score
