"""The interface to what runs the rows of one problem in the process that it is in."""

import abc
from collections.abc import Iterable
from typing import Any, ClassVar

from jaxtyping import PyTree

from .._black_box import AbstractBlackBox
from .failures import Failures
from .segment import Outcome, Segment


class AbstractRunner(abc.ABC):
    """Runs the rows of one problem. There is a kind for each kind of problem.

    - `copies_states`: a row can go on from the state of another, and so in another process.
    - `failures`: those of its rows.
    """

    copies_states: ClassVar[bool]
    problem: AbstractBlackBox
    failures: Failures

    @property
    def fixed_length(self) -> bool:
        """True if every episode is known to have `horizon` steps."""
        return False

    @abc.abstractmethod
    def example(self) -> PyTree[Any]:
        """The state of one row, as it comes out of the host."""

    @abc.abstractmethod
    def advance(self, segment: Segment) -> Outcome:
        """The rows after as many steps as there are seeds.

        **Raises:** `MisuseError` for a method that returns what it may not.
        """

    @abc.abstractmethod
    def evict(self, seeds: Iterable[int]) -> None:
        """Throws away what is kept for episodes, known by their seeds, that are given up."""
