"""Which engine runs what."""

import functools as ft

from .._black_box import AbstractBlackBox
from .._problem import AbstractProblem
from .base import AbstractEngine
from .host import HostEngine
from .local import LocalEngine

AnyEngine = AbstractEngine | AbstractProblem | AbstractBlackBox
"""An engine, or a problem for the one that runs it by default."""


def as_engine(engine: AnyEngine) -> AbstractEngine:
    """An engine as it is; a problem wrapped in `LocalEngine`, or in `HostEngine`."""
    if isinstance(engine, AbstractEngine):
        return engine
    if isinstance(engine, AbstractBlackBox):
        return _of_black_box(_Itself(engine))
    return LocalEngine(engine)


class _Itself:
    """A problem, equal to no other: not all that it computes with need be compared."""

    def __init__(self, problem: AbstractBlackBox):
        self.problem = problem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.problem is self.problem

    def __hash__(self) -> int:
        return id(self.problem)


@ft.lru_cache
def _of_black_box(key: _Itself) -> HostEngine:
    """Always the same one for a problem, whose simulators it may hold."""
    return HostEngine(key.problem)
