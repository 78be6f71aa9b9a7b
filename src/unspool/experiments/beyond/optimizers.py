"""Optimizers by their learning rate, with their settings as they are written down."""

import functools as ft
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from ... import clip_by_drift, scale_by_sigma


class Rated(NamedTuple):
    """An optimizer but for its learning rate: how it is made, and its name and options."""

    make: Callable[[Any], optax.GradientTransformation]
    name: str
    options: dict[str, Any]


def sgd() -> Rated:
    """Gradient descent."""
    return Rated(optax.sgd, "sgd", {})


def adam(tenth_after: int | None = None, **options: Any) -> Rated:
    """Adam, with a rate that falls exponentially to a tenth within so many updates."""
    make = ft.partial(_adam, tenth_after=tenth_after, **options)
    falls = {} if tenth_after is None else {"tenth_after": tenth_after}
    return Rated(make, "adam", options | falls)


def adam_in_sigmas(**options: Any) -> Rated:
    """Adam, with a rate in sigmas for each episode."""
    make = lambda rate: optax.chain(optax.adam(rate, **options), scale_by_sigma())
    return Rated(make, "adam", options | {"scale_by_sigma": True})


def adam_cut_by_drift(limit: float, **options: Any) -> Rated:
    """Adam, with steps that are cut where an episode's sum of them is more than so many sigmas."""
    make = lambda rate: optax.chain(optax.adam(rate, **options), clip_by_drift(limit))
    return Rated(make, "adam", options | {"clip_by_drift": limit})


def _adam(rate, tenth_after=None, **options):
    schedule = rate if tenth_after is None else optax.exponential_decay(rate, tenth_after, 0.1)
    return optax.adam(schedule, **options)
