"""What a problem's episodes say, with what holds where they say nothing."""

import jax
import numpy as np

import unspool


def is_done(problem, state):
    """True where an episode has ended early, of one state or of a host problem's rows."""
    if problem.episodes.is_done is not None:
        return problem.episodes.is_done(state)
    on_host = isinstance(problem, unspool.AbstractHostProblem)
    return np.zeros(jax.tree.leaves(state)[0].shape[:1] if on_host else (), bool)


def weight(problem, length):
    """The factor of each loss in an episode of a length."""
    found = problem.episodes.weight
    return 1.0 if found is None else found(length)


def draw_length(problem, key):
    """The number of steps of an episode."""
    found = problem.episodes.draw_length
    return problem.horizon if found is None else found(key=key)
