"""Published experiments, ready to be run again, and comparisons on problems of one's own."""

from typing import TYPE_CHECKING

from .._lazy import load_on_demand as _load_on_demand

if TYPE_CHECKING:
    from ._exports import *

# So that a comparison does not wait for the published ones.
__getattr__, __dir__ = _load_on_demand(__name__, "_exports")
