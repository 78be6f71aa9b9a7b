"""Perturbations that the type of the parameters can hold.

Parameters of 1 in bfloat16 lie 1/128 apart: most perturbations of a smaller scale would be lost, or
doubled. Rounded up or down at random, in proportion, an arm's parameters have the right mean
whatever the type,

$$ \\mathbb{E}[\\mathrm{round}(\\theta \\pm \\sigma z) \\mid z] = \\theta \\pm \\sigma z, $$

so that the score $z / \\sigma$ needs no correction, although the arms are not quite antithetic and
their covariance is more than $\\sigma^2$. A loss is defined at representable parameters alone: what
is estimated is the smoothed gradient of its interpolation between them. The price is noise:
where the gap is above sigma, up to about $\\mathrm{gap} / \\sigma$ times the variance.

The random number is a Weyl sequence over directions, blocks and parameters, shifted by a random
offset (Cranley, Patterson, 1976): uniform for each of them, independent of the noise, and so cheap
that nothing is gained by asking first whether rounding matters.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from .. import _rows as rows
from .._custom_types import Params, RandomKey

_FINE = 0.2
"""Rounding to the nearest is as good where numbers lie closer than this share of sigma."""

_STEPS = 0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35
"""Odd numbers far from simple fractions of 2**32: steps from parameter to parameter, from direction
to direction, and from block to block."""


def hold_pair(
    params: Params, along: Params, sigma: Params, dither: UInt32[Array, ""]
) -> tuple[Params, Params]:
    """The shifts of two arms at plus and minus a perturbation of scale sigma.

    `dither` is the random number of the first parameter.
    """
    leaves, structure = jax.tree.flatten(params)
    shifts = []
    for x, s, shift in zip(leaves, jax.tree.leaves(sigma), jax.tree.leaves(along), strict=True):
        uniform = dither + rows.positions(x) * jnp.uint32(_STEPS[0])
        dither = dither + jnp.uint32(x.size * _STEPS[0] % 2**32)
        shifts.append((hold(x, s, shift, uniform), hold(x, s, -shift, uniform)))
    plus, minus = zip(*shifts, strict=True) if shifts else ((), ())
    return jax.tree.unflatten(structure, plus), jax.tree.unflatten(structure, minus)


def draw_dither(
    key: RandomKey, number: Int[Array, "..."], block: Int[Array, "..."]
) -> UInt32[Array, "..."]:
    """The random number of the first parameter for a direction's number and block."""
    offset = jax.random.key_data(key).ravel()[0]
    _, of_number, of_block = _STEPS
    count = lambda x, step: x.astype(jnp.uint32) * jnp.uint32(step)
    return offset + count(number, of_number) + count(block, of_block)


def _power_below(x):
    """The largest power of two that is no larger than a number: its exponent without the rest."""
    kind = jnp.finfo(x.dtype)
    integer = jnp.dtype(f"uint{kind.bits}")
    exponent = (2**kind.nexp - 1) << kind.nmant
    bits = jax.lax.bitcast_convert_type(x, integer) & jnp.asarray(exponent, integer)
    return jax.lax.bitcast_convert_type(bits, x.dtype)


@jax.jit
@rows.widening
def hold(x, sigma, shift, uniform):
    """The shift, or one to a neighbor of `x + shift` where these are coarse beside sigma."""
    kind, wide = jnp.finfo(x.dtype), shift.dtype
    x = x.astype(wide)
    total = x + shift
    if kind.bits < 32:
        # Unlike a cast there and back, this is never optimized away.
        nearest = jax.lax.reduce_precision(total, kind.nexp, kind.nmant)
        if kind.tiny > jnp.finfo(wide).tiny:
            # Numbers below the smallest normal one, which lie evenly, are made zero by that.
            step = float(kind.eps) * float(kind.tiny)
            even = jnp.round(total / step) * step
            nearest = jnp.where(jnp.abs(total) < float(kind.tiny), even, nearest)
        error = total - nearest
    else:
        # What the sum has lost, exactly (Moller, 1965; Knuth, 1969).
        nearest, part = total, total - x
        error = (x - (total - part)) + (shift - part)
    gap = kind.eps * jnp.maximum(_power_below(nearest), kind.tiny)
    on = uniform.astype(wide) * 2.0**-32 * gap < jnp.abs(error)
    held = nearest + jnp.where(on, jnp.sign(error) * gap, 0) - x
    return held if kind.bits < 32 else jnp.where(gap > _FINE * sigma, held, shift)
