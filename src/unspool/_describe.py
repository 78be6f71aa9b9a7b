"""Descriptions of settings and machines, in words and numbers that fit into JSON."""

import dataclasses
import os
import platform
from typing import Any

import jax
import numpy as np

_MOST_NUMBERS = 32


def describe(module: Any) -> dict[str, Any]:
    """The name and the fields of a problem, an estimator or another object, ready for JSON."""
    fields = dataclasses.fields(module) if dataclasses.is_dataclass(module) else ()
    options = {f.name: _plain(getattr(module, f.name)) for f in fields if f.init}
    return {"name": type(module).__name__, "options": options}


def environment() -> dict[str, Any]:
    """The versions and the machine that a figure depends on besides the settings."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        if np.size(value) > _MOST_NUMBERS:
            return f"{value.dtype}{list(value.shape)}"
        array = np.asarray(value)
        if array.dtype.kind == "f":
            # By way of text: 0.1 in float32 is not 0.10000000149.
            array = array.astype(str).astype(float)
        return array.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe(value)
    return getattr(value, "__name__", type(value).__name__)
