"""Limits of a training: the counts that it may reach, and the cost of its start."""

import warnings
from collections.abc import Sequence

import numpy as np

from ._estimator import AbstractEstimator
from ._estimator.workers import EARLIEST_UPDATE, Workers
from ._joint import JointProblem

_MANY_STEPS = 1e8


def warn_of_long_start(joint: JointProblem, estimator: AbstractEstimator, num_updates: int):
    """Warns where more steps are run before the first update than after it, and they are many."""
    plan = estimator.plan(joint.horizon)
    steps = len(joint.engines) * plan.num_steps
    before = plan.num_warmup_windows * steps
    if before > max(num_updates * steps, _MANY_STEPS):
        warnings.warn(
            f"{before:.2g} problem steps will be run to spread the workers over episodes of "
            f"{joint.horizon} steps, and only {num_updates * steps:.2g} to train; a shorter "
            "horizon, longer windows or fewer workers need fewer, and ESSingle none",
            stacklevel=4,
        )


def counts_run_out(parts: Sequence[Workers], num_updates: int) -> bool:
    """True if so many updates could give an episode, or an update, a number that another had.

    In an update every group of workers begins one episode at most.
    """
    return any(_run_out(part, num_updates) for part in parts)


def _run_out(workers: Workers, num_updates: int) -> bool:
    # In NumPy, for it is asked before every record, and operations of JAX are programs each.
    episode, update = np.asarray(workers.each.episode), int(workers.update)
    most = np.iinfo(episode.dtype).max
    last = (int(np.max(episode)) + (num_updates + 1) * episode.size) * workers.layout.pairs
    overflowed = np.min(episode) < 0 or update < EARLIEST_UPDATE
    return bool(overflowed) or last > most or update + num_updates > most
