from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import CenteredAntithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class TruncatedES(AbstractPerturbed):
    r"""Evolution strategies on one window at a time, without the influence of earlier steps.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \frac{z_i}{2 \sigma}
       \sum_{t \in \text{window}} \big( \ell_t^{+} - \ell_t^{-} \big)^{(i)} $$

    Each worker carries an unperturbed state; its pair branches off there at every window and is
    thrown away afterwards. The estimate is **biased** as the truncated gradient is: how the
    parameters shaped the state at the start of the window is ignored.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed window gradient | one state | $3 N W$ | not needed |

    Prefer `NRES`; this is the baseline that shows what truncation does.

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
    >>> estimator = unspool.TruncatedES(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # three arms, 100 workers, a window
    3000

    **Reference:** Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein (2019), arXiv 1810.10180.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed window gradient"
    references: ClassVar[tuple[str, ...]] = ("metz2019",)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.window,
            probe=CenteredAntithetic(),
            sigma=self.sigma,
            rejoins=True,
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
