"""An engine that runs a problem made of its own."""

from collections.abc import Callable
from dataclasses import replace

from .._problem import AbstractProblem
from .base import AbstractEngine
from .forwarding import AbstractForwarding
from .local import LocalEngine


def map_problem(
    engine: AbstractEngine, change: Callable[[AbstractProblem], AbstractProblem]
) -> AbstractEngine:
    """The engine for another problem, made of the one that it runs.

    **Raises:** `ValueError` for an engine that runs no `AbstractProblem`.
    """
    if isinstance(engine, AbstractForwarding):
        return replace(engine, engine=map_problem(engine.engine, change))
    if isinstance(engine, LocalEngine):
        return replace(engine, problem=change(engine.problem))
    raise ValueError(
        f"how parameters enter a step is found for problems of a LocalEngine, got "
        f"{type(engine).__name__}; estimators that would work: RTRL, UORO, DODGE"
    )
