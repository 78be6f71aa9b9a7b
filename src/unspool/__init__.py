"""Gradients through long unrolled computations, one window at a time."""

from typing import TYPE_CHECKING

from ._lazy import load_on_demand

if TYPE_CHECKING:
    from ._exports import *

# So that what needs no JAX, such as `unspool --help`, does not wait for it.
__getattr__, __dir__ = load_on_demand(__name__)
