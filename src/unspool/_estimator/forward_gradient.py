from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .probe import Tangent
from .tableau import Tableau


class ForwardGradient(AbstractPerturbed):
    r"""Forward-mode derivatives along random directions, one window at a time.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} u_i \sum_{t \in \text{window}} \dot \ell_t^{(i)} $$

    with $\dot \ell_t$ the exact derivative of the loss along $u$, the state at the start of the
    window being constant. The estimate is **biased** as the truncated gradient is.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | window gradient | one state | $N W$ | forward mode |

    Prefer `TBPTT` where reverse mode is to be had; `DODGE` carries the tangent on and is unbiased.

    **Arguments:**

    - `num_workers`: directions.
    - `window`: steps between estimates.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.ForwardGradient(num_workers=100, window=10)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # 100 workers, a window
    1000

    **Reference:** Baydin, Pearlmutter, Syme, Wood, Torr (2022), arXiv 2202.08587.
    """

    num_workers: int
    window: int
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    estimand: ClassVar[str] = "window gradient"
    references: ClassVar[tuple[str, ...]] = ("baydin2022",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.window,
            probe=Tangent(),
            rejoins=True,
            directions=self.directions,
        )
