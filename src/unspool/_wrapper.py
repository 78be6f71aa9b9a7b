"""A problem around another, of which it keeps whatever it does not change."""

import abc

from ._episodes import Episodes
from ._problem import AbstractProblem


class AbstractWrapper(AbstractProblem):
    """A problem around another one, of which it keeps everything that a subclass does not define.

    Early ends, drawn lengths, curricula and weights are then not lost on the way, nor is the speed
    of episodes that have none of them. A subclass names the other problem by the property `inner`
    and defines the methods that differ.
    """

    @property
    @abc.abstractmethod
    def inner(self) -> AbstractProblem:
        """The other problem."""

    @property
    def horizon(self) -> int:
        return self.inner.horizon

    def init_params(self, *, key):
        return self.inner.init_params(key=key)

    def init_state(self, params, *, key):
        return self.inner.init_state(params, key=key)

    def step(self, params, state, t, *, key):
        return self.inner.step(params, state, t, key=key)

    @property
    def episodes(self) -> Episodes:
        return self.inner.episodes
