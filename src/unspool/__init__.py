"""Gradients through long unrolled computations, one window at a time."""

from typing import TYPE_CHECKING

from ._config.compare_config import CompareConfig as CompareConfig
from ._config.errors import ConfigError as ConfigError
from ._config.train_config import AnnealConfig as AnnealConfig
from ._config.train_config import Spec as Spec
from ._config.train_config import TrainConfig as TrainConfig
from ._lazy import load_on_demand as _load_on_demand

if TYPE_CHECKING:
    from ._exports import *
    from ._study_exports import *

# So that what needs no JAX, such as `unspool --help`, does not wait for it.
__getattr__, __dir__ = _load_on_demand(__name__, "_exports", "_study_exports")
