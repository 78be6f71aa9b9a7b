"""The lines of a run's files, one for each record."""

import jax
import numpy as np

from ._custom_types import Params
from ._estimator import AbstractEstimator
from ._joint import JointProblem
from ._params import split
from ._results import name_result
from ._updates import Record
from .records import MetricsLine

MOST_PARAMS_LOGGED = 5000
"""Parameters that a line holds; of more it holds none."""


def first_line(params: Params, estimator: AbstractEstimator, joint: JointProblem) -> MetricsLine:
    """The line of update 0, before which there is no record."""
    plan = estimator.plan(joint.horizon)
    warmup = plan.num_warmup_windows
    return MetricsLine(
        update=0,
        seconds=0.0,
        steps=0,
        warmup_steps=warmup * len(joint.engines) * plan.num_steps,
        sequential_steps=warmup * plan.num_sequential_steps,
        params=_logged_params(params),
    )


def line_of(record: Record) -> MetricsLine:
    """The line of a record."""
    line = record._asdict()
    del line["state"]
    line |= {"result": name_result(record.result), "params": _logged_params(record.params)}
    return MetricsLine(**line)


def _logged_params(params: Params) -> list[float] | None:
    trained, _ = split(params)
    flat = np.concatenate([np.ravel(np.asarray(x)) for x in jax.tree.leaves(trained)])
    return flat.tolist() if flat.size <= MOST_PARAMS_LOGGED else None
