"""The lines of a run's files, one for each record."""

import math
from typing import Any

import jax
import numpy as np

from ._custom_types import Params
from ._estimator import AbstractEstimator
from ._joint import JointProblem
from ._params import split
from ._records import Record
from ._results import name_result

MOST_PARAMS_LOGGED = 5000
"""Parameters that a line holds; of more it holds none."""


def first_line(params: Params, estimator: AbstractEstimator, joint: JointProblem) -> dict[str, Any]:
    """The line of update 0, before which there is no record."""
    plan = estimator.plan(joint.horizon)
    warmup = plan.num_warmup_windows
    return {
        "update": 0,
        "seconds": 0.0,
        "steps": 0,
        "useful_steps": 0,
        "warmup_steps": warmup * len(joint.engines) * plan.num_steps,
        "sequential_steps": warmup * plan.num_sequential_steps,
        "loss": None,
        "grad_norm": None,
        "dropped": 0,
        "result": "successful",
    } | _logged_params(params)


def line_of(record: Record) -> dict[str, Any]:
    """The line of a record."""
    line = record._asdict() | {"result": name_result(record.result)}
    del line["params"], line["state"]
    return line | _logged_params(record.params)


def _logged_params(params: Params) -> dict[str, list[float]]:
    trained, _ = split(params)
    flat = np.concatenate([np.ravel(np.asarray(x)) for x in jax.tree.leaves(trained)])
    return {"params": flat.tolist()} if flat.size <= MOST_PARAMS_LOGGED else {}


def without_nan(line: dict[str, Any]) -> dict[str, Any]:
    """The line with `None` for what is not finite, which JSON has no word for."""
    finite = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
    return {name: finite(value) for name, value in line.items()}
