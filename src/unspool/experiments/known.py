"""The published experiments by name."""

import importlib
from typing import Any

from .._config.names import exported
from .base import AbstractExperiment


def experiments() -> dict[str, type[AbstractExperiment]]:
    """The exported experiments by the name they are typed with."""
    # By name, for what is published builds on what the library exports.
    exports = importlib.import_module("unspool.experiments._exports")
    found: dict[str, Any] = exported(exports, AbstractExperiment)
    return {cls.name: cls for cls in found.values()}
