from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import Antithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class PES(AbstractPerturbed):
    r"""Persistent evolution strategies: fresh noise every window, summed up over the episode.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \Big( \sum_{j \le k} \frac{z_{i,j}}{\sigma_j} \Big)
       \sum_{t \in \text{window } k} \frac{\big( \ell_t^{+} - \ell_t^{-} \big)^{(i)}}{2} $$

    The pair is perturbed anew in each window of an episode; a loss is credited to all perturbations
    since the episode began. Each score keeps the sigma it was drawn with.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed gradient, fresh noise per window | two states, accumulator | $2 N W$ | not needed |

    Prefer it to `NRES` when episodes never end, or when the gradients of different windows agree so
    well that averaging over fresh noise pays; otherwise its variance grows with the number of
    windows. It smooths less than `NRES` at the same sigma, and so has another optimum.

    **Arguments:**

    - `num_workers`: antithetic pairs.
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
    >>> estimator = unspool.PES(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # two arms, 100 workers, a window
    2000

    **Reference:** Vicol, Metz, Sohl-Dickstein (2021), arXiv 2112.13835.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.window,
            probe=Antithetic(),
            sigma=self.sigma,
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
