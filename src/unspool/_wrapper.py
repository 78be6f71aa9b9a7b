"""A problem around another, of which it keeps whatever it does not change."""

import abc

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

    def is_done(self, state):
        return self.inner.is_done(state)

    def draw_length(self, *, key):
        return self.inner.draw_length(key=key)

    def max_length(self, episode):
        return self.inner.max_length(episode)

    def weight(self, length):
        return self.inner.weight(length)

    @property
    def ends_early(self) -> bool:
        return type(self).is_done is not AbstractWrapper.is_done or self.inner.ends_early

    @property
    def fixed_length(self) -> bool:
        kind = type(self)
        return (
            kind.draw_length is AbstractWrapper.draw_length
            and kind.max_length is AbstractWrapper.max_length
            and self.inner.fixed_length
        )
