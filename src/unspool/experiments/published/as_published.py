"""Estimators as they were when they were published."""

import dataclasses
from typing import TypeVar

from ... import AutomaticDirections, GaussianDirections
from ..._estimator import AbstractEstimator

_Estimator = TypeVar("_Estimator", bound=AbstractEstimator)


def as_published(estimator: _Estimator) -> _Estimator:
    """The estimator with independent directions, unless it names others."""
    if not isinstance(getattr(estimator, "directions", None), AutomaticDirections):
        return estimator
    return dataclasses.replace(estimator, directions=GaussianDirections())
