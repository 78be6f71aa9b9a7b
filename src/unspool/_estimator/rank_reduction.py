"""A sum of outer products with one term less, without bias."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def reduce_rank(
    left: Float[Array, "n terms"], right: Float[Array, "m terms"], signs: Float[Array, " terms"]
) -> tuple[Float[Array, "n terms-1"], Float[Array, "m terms-1"]]:
    r"""Optimal unbiased reduction of $L R^\top$ by one column, of Benzing et al. (2019)."""
    (basis, left), (other, right) = jnp.linalg.qr(left), jnp.linalg.qr(right)
    before, d, after = jnp.linalg.svd(left @ right.T, full_matrices=False)
    # A column for each term, of zeros where there are less dimensions than terms.
    fill = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, signs.size - x.shape[-1])])
    d, before, after = fill(d), fill(basis @ before), fill(other @ after.T)
    place, r = jnp.arange(d.size), d.size - 1
    tails = jnp.cumsum(d[::-1])[::-1]
    # The largest are kept as they are, the others share what columns remain.
    kept = place < jnp.argmax((r - place) * d <= tails)
    total = jnp.sum(jnp.where(kept, 0, d))
    share = total / (r - jnp.sum(kept))
    normal = jnp.sqrt(jnp.where(kept, 0, jnp.maximum(1 - d / jnp.where(total > 0, share, 1), 0)))
    # The reflection that turns the last axis to the normal turns the others to its complement.
    mirror = normal.at[-1].add(1)
    turned = jnp.eye(d.size) - 2 * jnp.outer(mirror, mirror) / (mirror @ mirror)
    scale = jnp.where(kept, jnp.sqrt(d), jnp.sqrt(share) * signs)
    mixed = jax.vmap(jnp.multiply)(scale, turned[:, :-1])
    return before @ mixed, after @ mixed
