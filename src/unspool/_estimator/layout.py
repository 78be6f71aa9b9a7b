"""Which arms of a group belong to which of its pairs."""

from typing import NamedTuple

import jax.numpy as jnp

from .. import _rows as rows
from .._custom_types import PairMask, RowLosses, RowMask


class Layout(NamedTuple):
    """The arms of a group, in order: the first of each pair, the second of each, the shared ones.

    - `pairs`: antithetic pairs of the group; where there are none, its one trajectory counts.
    - `own`: arms of each pair.
    - `shared`: unperturbed arms beside them, one at most.
    """

    pairs: int = 1
    own: int = 1
    shared: int = 0

    @property
    def num_arms(self) -> int:
        return self.pairs * self.own + self.shared

    def arms_of(self, pairs: PairMask) -> RowMask:
        """The arms of these pairs; a shared one counts if all pairs of its group do."""
        own = rows.flatten(rows.repeat(pairs, self.own))
        if not self.shared:
            return own
        return rows.join_arms(own, rows.arms(jnp.all(pairs, axis=0)))

    def are_finite(self, losses: RowLosses) -> PairMask:
        """The pairs all of whose own arms have finite losses."""
        finite = jnp.isfinite(losses[: self.pairs * self.own])
        return jnp.all(rows.unflatten(finite, self.own), axis=0)
