"""Directions in memory."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import Clocks
from .roster import Roster


class DirectionCache(eqx.Module):
    """Directions that last an episode, kept instead of drawn in every window.

    To draw for the few groups that begin anew takes as long as to draw for all. So all are drawn
    ahead of their next episodes, at once, when the first one needs what has been used up.

    - `now`: every pair's direction.
    - `ahead`: that of its next episode; of the one at hand where it is used up.
    - `episode`: the id of the episode that each group's `ahead` belongs to.
    """

    now: PyTree[Float[Array, "pairs workers ..."]]
    ahead: PyTree[Float[Array, "pairs workers ..."]]
    episode: Int[Array, "1 workers"]

    def refresh(
        self,
        roster: Roster,
        next_episodes: Callable[[Clocks], Clocks],
        draw: Callable[[Clocks], PyTree[Float[Array, "pairs workers ..."]]],
    ) -> "DirectionCache":
        """The directions once some groups have begun anew; `draw` makes those of episodes."""
        reset, episode = roster.reset, roster.episode

        def refill():
            # Of directions that are not used up yet these are the same once more.
            coming = jnp.where(reset, episode, next_episodes(episode))
            return draw(coming), rows.arms(coming)

        # By ids, which most windows only read: flags that each writes took a tenth of the time of
        # a small problem's estimate.
        used_up = jnp.any(rows.arms(episode) > self.episode)
        keep = lambda: (self.ahead, self.episode)
        ahead, of_ahead = jax.lax.cond(used_up, refill, keep)
        now = rows.select_worker(reset, ahead, self.now)
        return DirectionCache(now, ahead, of_ahead)
