from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .control import AnalyticNewestControl
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import ControlledAntithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class PESAnalytic(AbstractPerturbed):
    r"""Persistent evolution strategies with an analytic window gradient (PES+Analytic).

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \Big[ p_k + \Big( \sum_{j < k}
       \frac{z_{i,j}}{\sigma_j} \Big) \Big( \sum_{t \in \text{window } k}
       \frac{\ell_t^{+} - \ell_t^{-}}{2} - \sigma_k z_{i,k} \cdot p_k \Big) \Big]^{(i)} $$

    with $p_k$ the gradient of the losses of window $k$, states before it constant, on a third,
    unperturbed trajectory. What the newest noise has to say is left to $p_k$.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | nearly as `PES` | three states, accumulator | $3 N W$ and a reverse pass | needed |

    Exact for quadratic losses; otherwise $p_k$ is taken where nothing is perturbed, and the mean
    is a little off `PES`'s. Prefer it to `PES` if windows can be differentiated and most of the
    gradient is short-range; the first window of an episode has no noise at all. `ControlledGPES` is
    the form without that bias. Not for chaotic or discontinuous losses.

    **Arguments:**

    - `num_workers`: antithetic pairs, each with an unperturbed trajectory beside it.
    - `window`: steps between estimates.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.
    - `phases`: where in their episodes workers start: `EvenPhases()`, `IndependentPhases()`, or
      `Staggered()`, which runs no window before the first update.

    **Raises:** `ValueError` for a count below 1 or a sigma that is not positive.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.PESAnalytic(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # three arms, 100 workers, a window
    3000

    **Reference:** Vicol, Metz, Sohl-Dickstein (2021), arXiv 2112.13835.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient, its newest part unsmoothed"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.window,
            probe=ControlledAntithetic(),
            sigma=self.sigma,
            control=AnalyticNewestControl(),
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
