from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .probe import Antithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class FullES(AbstractPerturbed):
    r"""Evolution strategies over whole episodes, in antithetic pairs.

    $$ \hat g = \frac{1}{N} \sum_{i=1}^{N} \frac{z_i}{2 \sigma}
       \big( L(\theta + \sigma z_i) - L(\theta - \sigma z_i) \big) $$

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed gradient, one noise per episode | none | $2 N T$ | not needed |

    Prefer it when episodes are short, or cannot be paused; every estimate then costs whole
    episodes. `NRES` has the same mean and updates after every window.

    **Arguments:**

    - `num_workers`: antithetic pairs, each with a noise of its own.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`; by default what is known to help.

    **Raises:** `ValueError` for a count below 1 or a sigma that is not positive.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.FullES(num_workers=100, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # two arms, 100 workers, an episode
    20000

    **Reference:** Salimans, Ho, Chen, Sidor, Sutskever (2017), arXiv 1703.03864; Rechenberg (1973).
    """

    num_workers: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("salimans2017",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=None,
            period=None,
            probe=Antithetic(),
            sigma=self.sigma,
            directions=self.directions,
            pairs=self.pairs_per_group,
        )
