from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import LockStep
from .probe import Antithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class ESSingle(AbstractPerturbed):
    r"""One noise per episode, with all workers at the same step.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \frac{z_i}{2 \sigma}
       \sum_{t \in \text{window}} \big( \ell_t^{+} - \ell_t^{-} \big)^{(i)} $$

    The same sum as `NRES`, but the workers walk through the episode in step: an estimate sees one
    window, and only the average over an episode is unbiased. It needs no warming up.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed gradient, one noise per episode | two states | $2 N W$ | not needed |

    Prefer it when all episodes must start together; otherwise `NRES`, whose updates do not go round
    in a cycle.

    **Arguments:**

    - `num_workers`: antithetic pairs.
    - `window`: steps between estimates.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.

    **Raises:** `ValueError` for a count below 1 or a sigma that is not positive.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.ESSingle(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # two arms, 100 workers, a window
    2000

    **Reference:** Vicol, Kolter, Swersky (2023), arXiv 2304.11153.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("vicol2023",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=None,
            probe=Antithetic(),
            sigma=self.sigma,
            phases=LockStep(),
            directions=self.directions,
            pairs=self.pairs_per_group,
        )
