"""Segments of a window, divided where directions change."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._custom_types import Clocks
from .tableau import Tableau


class Segments(NamedTuple):
    """The segments of a window, in which no direction changes.

    - `length`: steps of one.
    - `per_window`: how many make a window.
    - `period`: steps of an episode for which a direction is kept.
    - `lasts`: whether that is the whole episode.
    """

    length: int
    per_window: int
    period: int
    lasts: bool

    @classmethod
    def of(cls, tableau: Tableau, horizon: int) -> "Segments":
        window = min(tableau.window or horizon, horizon)
        period = min(tableau.period or horizon, horizon)
        length = min(period, window)
        return cls(length, -(-window // length), period, period == horizon)

    # Divisions of integers are slow, and a direction that lasts needs none.
    def block(self, t: Clocks) -> Clocks:
        """The number of the direction that is in use at step `t`."""
        return jnp.zeros_like(t) if self.lasts else jax.lax.div(t, self.period)

    def redraws(self, t: Clocks) -> Bool[Array, " workers"]:
        """The groups whose direction is drawn at step `t`."""
        return t == 0 if self.lasts else jax.lax.rem(t, self.period) == 0

    def window_of(self, t: Clocks) -> Clocks:
        """The place in the episode of the window that step `t` belongs to."""
        return jax.lax.div(jnp.maximum(t, 0), self.length * self.per_window)
