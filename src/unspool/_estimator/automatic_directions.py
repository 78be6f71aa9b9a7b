from typing import ClassVar

from .._custom_types import Params
from .directions import AbstractDirections, Directions, Draw, GaussianDirections, Use
from .lattice_directions import LatticeDirections
from .orthogonal_directions import OrthogonalDirections


class AutomaticDirections(AbstractDirections):
    """Directions that are drawn together where that is known to help: the default.

    | parameters | directions |
    |---|---|
    | up to 3 | `LatticeDirections()` |
    | 4 to 20, where a direction lasts an episode | `OrthogonalDirections(size)` |
    | others | `GaussianDirections()` |

    The size of a cohort divides the number of pairs. There is no lattice, and cohorts are no larger
    than groups of pairs, in two cases:

    - Something is learned on earlier episodes, such as the coefficient of a control.
    - There are fewer than 20 pairs. Workers of a round do not all begin at once, so that the
      directions of the later ones depend on those that have moved the parameters. For parameters
      that stay put no mean changes; along a training estimates are off by a little more, in
      proportion to the learning rate and to one over the number of pairs.

    `unspool train` says what is chosen, and a run keeps it.

    **Example:**

    >>> from unspool.extend import Use
    >>> directions = unspool.AutomaticDirections()
    >>> directions.choose(Use(num_params=2, num_pairs=100))
    LatticeDirections()
    >>> directions.choose(Use(num_params=2, num_pairs=100, learns=True))
    GaussianDirections()
    >>> directions.choose(Use(num_params=6, num_pairs=100)).size
    5
    """

    fewest_pairs: ClassVar[int] = 20
    most_params: ClassVar[int] = 20
    """With twice as many, cohorts of 20 left 0.57 of the variance of a linear loss, and made the
    estimates of a problem of few operations take 3.7 times as long."""

    def couples_episodes(self, pairs: int) -> bool:
        # Not where it would matter: see `choose`.
        return False

    def choose(self, use: Use) -> AbstractDirections:
        may_couple = use.num_pairs >= self.fewest_pairs and not use.learns
        if 0 < use.num_params <= LatticeDirections.most_params and may_couple:
            return LatticeDirections()
        size = self._cohort(use, may_couple)
        return OrthogonalDirections(size, keep=True) if size > 1 else GaussianDirections()

    def _cohort(self, use: Use, may_couple: bool) -> int:
        """The largest cohort that is legal and pays."""
        if not 0 < use.num_params <= self.most_params or not use.lasts:
            return 1
        pairs = use.pairs_per_group
        is_legal = lambda c: pairs % c == 0 or (may_couple and c % pairs == 0)
        sizes = range(1, use.num_params + 1)
        return max(c for c in sizes if use.num_pairs % c == 0 and is_legal(c))

    def draw(self, params: Params, draw: Draw) -> Directions:
        return GaussianDirections().draw(params, draw)
