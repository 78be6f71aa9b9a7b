"""Which engine runs what."""

import functools as ft

from .._black_box import AbstractBlackBox
from .._problem import AbstractProblem
from .base import AbstractEngine
from .host import HostEngine, check_black_box
from .local import LocalEngine

AnyEngine = AbstractEngine | AbstractProblem | AbstractBlackBox
"""An engine, or a problem for the one that runs it by default."""


def as_engine(engine: AnyEngine) -> AbstractEngine:
    """An engine as it is; a problem wrapped in `LocalEngine`, or in `HostEngine`."""
    if isinstance(engine, AbstractEngine):
        return engine
    if isinstance(engine, AbstractBlackBox):
        check_black_box(engine)
        return _of_black_box(engine)
    return LocalEngine(engine)


# Always the same one for a problem, whose simulators it may hold.
_of_black_box = ft.lru_cache(HostEngine)
