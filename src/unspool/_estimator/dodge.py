from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import Tangent
from .tableau import Tableau


class DODGE(AbstractPerturbed):
    r"""Forward-mode derivatives along random directions, carried through the whole episode.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \sum_{t \in \text{window}}
       \Big( \sum_{j \le t / K} u_{i,j} \Big) \, \dot \ell_t^{(i)} $$

    with $\dot \ell_t$ the exact derivative of the loss along the directions $u$ lived through: the
    limit of `GPES` (of `NRES`, without a period) as sigma goes to zero.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | one state and its tangent | $N W$ | forward mode |

    Prefer it for smooth problems whose memory is too large for `BPTT`; nothing is smoothed, so
    chaos ruins it as it ruins `BPTT`.

    **Arguments:**

    - `num_workers`: directions.
    - `window`: steps between estimates.
    - `period`: steps for which a direction is kept; it divides `window` or is a multiple of it. By
      default a direction is kept for the episode.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.
    - `phases`: where in their episodes workers start: `EvenPhases()`, `IndependentPhases()`, or
      `Staggered()`, which runs no window before the first update.

    **Raises:** `ValueError` for a count below 1, or a period that does not fit the window.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.DODGE(num_workers=100, window=10)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # 100 workers, a window
    1000

    **Reference:** Silver, Goyal, Danihelka, Hessel, van Hasselt (2022), Learning by Directional
    Gradient Descent, ICLR.
    """

    num_workers: int
    window: int
    period: int | None = None
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "gradient"
    references: ClassVar[tuple[str, ...]] = ("silver2022",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.period,
            probe=Tangent(),
            directions=self.directions,
            phases=self.phases,
        )
