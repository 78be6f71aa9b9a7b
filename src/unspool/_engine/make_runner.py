"""The choice of what runs the rows of a problem."""

from typing import Any

from .._black_box import AbstractHostProblem, AbstractSimulatorProblem
from .._episodes import check_episodes
from .base import check_horizon
from .host_rows import StateRunner
from .runner import AbstractRunner
from .simulators import SimulatorRunner


def make_runner(problem: Any, process: int = 0) -> AbstractRunner:
    """A runner for the rows of a problem: the one place that asks which kind it is.

    `process` is the number of the process that this is, of several that run rows of the problem.

    **Raises:** `ValueError` if the problem is of neither kind, is not hashable, or has no horizon
    of at least 1.
    """
    if not isinstance(problem, (AbstractHostProblem, AbstractSimulatorProblem)):
        raise ValueError(
            "problem must be an instance of AbstractHostProblem or AbstractSimulatorProblem, "
            f"got {problem!r}" + (" (a class: call it first)" if isinstance(problem, type) else "")
        )
    if type(problem).__hash__ is None:
        raise ValueError(
            f"problem must be hashable, got {problem!r}: decorate its class with "
            "@dataclasses.dataclass(frozen=True)"
        )
    check_horizon(problem.horizon)
    if isinstance(problem, AbstractHostProblem):
        _check_episodes(problem)
        return StateRunner(problem)
    return SimulatorRunner(problem, process)


def _check_episodes(problem: AbstractHostProblem) -> None:
    check_episodes(problem)
    if problem.episodes.random_length or problem.episodes.weight is not None:
        raise ValueError(
            f"the episodes of {type(problem).__name__}, which runs on the host, may have is_done "
            f"alone, got {problem.episodes!r}"
        )
