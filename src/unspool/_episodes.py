"""The description of a problem's episodes: lengths, ends, weights."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from ._show import show


@dataclass(frozen=True, kw_only=True)
class Episodes:
    r"""Description of a problem's episodes: how they end, and what a step's loss weighs.

    What is not given is not there: episodes have `horizon` steps, all of the same weight. What is
    known to be so runs faster.

    - `is_done(state)`: a boolean, true where the episode has ended early. Its steps are then frozen
      and add no loss. The objective is the expected *total* loss of an episode; gradients are right
      up to a positive factor, the mean length.
    - `draw_length(*, key)`: the number of steps of an episode, from 1 to `horizon`. The objective
      is $\mathbb{E}[\sum_t \ell_t] / \mathbb{E}[\text{length}]$, the average per *step*.
    - `max_length(episode)`: the most steps, at least 1, of the episode with that number, for a
      curriculum. Training counts episodes over all workers, from 0; evaluations know no such
      number, and have episodes as long as `draw_length` says.
    - `weight(length)`: a factor of each step's loss in an episode of `length` steps. With
      `mean_length / length` the objective is the average per *episode*.

    **Example:**

    >>> class Short(unspool.problems.FinalLoss):
    ...     @property
    ...     def episodes(self):
    ...         return unspool.Episodes(is_done=lambda state: state > 0.5)
    >>> problem = Short(horizon=50)
    >>> params = problem.init_params(key=jax.random.key(0))
    >>> print(unspool.evaluate(problem, params, key=jax.random.key(1)).loss)
    0.0
    """

    is_done: Callable[[Any], Any] | None = None
    draw_length: Callable[..., Any] | None = None
    max_length: Callable[[Any], Any] | None = None
    weight: Callable[[Any], Any] | None = None

    __repr__ = show

    @property
    def ends_early(self) -> bool:
        """True if an episode may end before the length that it began with."""
        return self.is_done is not None

    @property
    def random_length(self) -> bool:
        """True if episodes may begin with fewer than `horizon` steps."""
        return not (self.draw_length is None and self.max_length is None)


def check_episodes(problem: Any) -> None:
    """Raises `ValueError` unless a problem describes its episodes by an `Episodes`."""
    name = type(problem).__name__
    if not isinstance(problem.episodes, Episodes):
        raise ValueError(
            f"the property episodes of {name} must be an Episodes, got {problem.episodes!r}"
        )
    for field in fields(Episodes):
        # A function of that name would not be asked.
        if callable(getattr(type(problem), field.name, None)):
            raise ValueError(
                f"{name} has a method {field.name}, which nobody asks: return it from the property "
                f"`episodes`, as in Episodes({field.name}=...)"
            )
