"""An engine for what is trained alone, where parameters hold more than that."""

from .._custom_types import Params
from .._params import Fixed, join
from .base import AbstractEngine
from .forwarding import AbstractForwarding


class Completed(AbstractForwarding):
    """Another engine, given the trained part of the parameters instead of all of them.

    Estimators see real arrays only, and the problem the whole tree.

    **Arguments:**

    - `engine`: the engine that runs the whole parameters.
    - `fixed`: the leaves that are not trained.
    """

    engine: AbstractEngine
    fixed: Fixed

    def __init__(self, engine: AbstractEngine, fixed: Fixed):
        self.engine = engine
        self.fixed = fixed

    def check(self, params: Params) -> None:
        self.engine.check(join(params, self.fixed))

    def start(self, params, keys, shift=None):
        return self.engine.start(join(params, self.fixed), keys, shift)

    def shorten(self, trajectories, episodes):
        return self.engine.shorten(trajectories, episodes)

    def unroll(self, params, trajectories, num_steps, shift=None):
        return self.engine.unroll(join(params, self.fixed), trajectories, num_steps, shift)


def complete(engine: AbstractEngine, fixed: Fixed) -> AbstractEngine:
    """The engine for what is trained: the engine itself where nothing is fixed."""
    return engine if fixed.is_empty else Completed(engine, fixed)
