"""Directions in memory."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from .. import _rows as rows
from .._custom_types import WorkerMask


class DirectionCache(eqx.Module):
    """Directions that last an episode, kept instead of drawn in every window.

    To draw for the few groups that begin anew takes as long as to draw for all. So all are drawn
    ahead of their next episodes, at once, when the first one needs what has been used up.

    - `now`: every pair's direction.
    - `ahead`: that of its next episode.
    - `used`: groups whose `ahead` they live through already.
    """

    now: PyTree[Float[Array, "pairs workers ..."]]
    ahead: PyTree[Float[Array, "pairs workers ..."]]
    used: Bool[Array, "1 workers"]

    def refresh(
        self,
        reset: WorkerMask,
        draw: Callable[[], PyTree[Float[Array, "pairs workers ..."]]],
    ) -> "DirectionCache":
        """The directions once some groups have begun anew; `draw` makes all next ones."""
        used = rows.arm(self.used, 0)
        refill = lambda: (rows.select_worker(used, draw(), self.ahead), jnp.zeros_like(used))
        keep = lambda: (self.ahead, used)
        ahead, used = jax.lax.cond(jnp.any(reset & used), refill, keep)
        now = rows.select_worker(reset, ahead, self.now)
        return DirectionCache(now, ahead, rows.arms(used | reset))
