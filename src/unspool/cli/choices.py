"""The experiments by the names of the command line."""

from typing import Any

from .. import experiments as _experiments
from .._config.names import exported
from ..experiments.base import AbstractExperiment


def experiments() -> dict[str, type[AbstractExperiment]]:
    """The exported experiments by the name they are typed with."""
    found: dict[str, Any] = exported(_experiments, AbstractExperiment)
    return {cls.name: cls for cls in found.values()}
