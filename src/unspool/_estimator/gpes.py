from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import Antithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class GPES(AbstractPerturbed):
    r"""Generalized persistent evolution strategies: fresh noise every `period` steps.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \sum_{t \in \text{window}}
       \Big( \sum_{j \le t / K} \frac{z_{i,j}}{\sigma_j} \Big)
       \frac{\big( \ell_t^{+} - \ell_t^{-} \big)^{(i)}}{2} $$

    with $K$ the period. `PES` is the case $K = W$, `NRES` the case $K \ge T$; in between, the
    variance of an estimate falls as $K$ grows, if losses respond linearly.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed gradient, fresh noise per period | two states, accumulator | $2 N W$ | not needed |

    Prefer it for episodes so long that one noise cannot explore enough; else `NRES`.

    **Arguments:**

    - `num_workers`: antithetic pairs.
    - `window`: steps between estimates.
    - `period`: steps for which a noise is kept; it divides `window` or is a multiple of it.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.
    - `phases`: where in their episodes workers start: `EvenPhases()`, `IndependentPhases()`, or
      `Staggered()`, which runs no window before the first update.

    **Raises:** `ValueError` for a count below 1, a sigma that is not positive, or a period that
    does not fit the window.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.GPES(num_workers=100, window=10, period=50, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # two arms, 100 workers, a window
    2000

    **Reference:** Li, Harrison, Sohl-Dickstein, Smith, Metz (2023), arXiv 2304.12180.
    """

    num_workers: int
    window: int
    period: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("li2023",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.period,
            probe=Antithetic(),
            sigma=self.sigma,
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
