"""An engine that is another one but for what it changes."""

import equinox as eqx
from jaxtyping import PyTree

from .._custom_types import KeyLike, Params
from .base import AbstractEngine


class AbstractForwarding(AbstractEngine):
    """Says of itself what the `engine` that it wraps does."""

    engine: eqx.AbstractVar[AbstractEngine]

    @property
    def horizon(self) -> int:
        return self.engine.horizon

    @property
    def differentiable(self) -> bool:
        return self.engine.differentiable

    @property
    def fixed_length(self) -> bool:
        return self.engine.fixed_length

    @property
    def ends_early(self) -> bool:
        return self.engine.ends_early

    @property
    def copies_states(self) -> bool:
        return self.engine.copies_states

    @property
    def failures(self) -> tuple[str, ...]:
        return self.engine.failures

    def settle(self, results: PyTree) -> PyTree:
        return self.engine.settle(results)

    def init_params(self, *, key: KeyLike) -> Params:
        return self.engine.init_params(key=key)
