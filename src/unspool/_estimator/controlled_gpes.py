from typing import ClassVar

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .control import AbstractControl, FittedWindowControl, check_window_control
from .directions import AbstractDirections
from .perturbed import AbstractPerturbed
from .phases import AbstractPhases, EvenPhases
from .probe import ControlledAntithetic
from .sigma import Sigma, as_sigma
from .tableau import Tableau


class ControlledGPES(AbstractPerturbed):
    r"""Generalized persistent evolution strategies with a control variate.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \Big[ a_k p_k + \Big( \sum_{j \le k}
       \frac{z_{i,j}}{\sigma_j} \Big) \Big( \sum_{t \in \text{window } k}
       \frac{\ell_t^{+} - \ell_t^{-}}{2} - a_k \, p_k \cdot \sigma_k z_{i,k} \Big) \Big]^{(i)} $$

    with $p_k$ the gradient of the losses of window $k$, states before it constant, on a third,
    unperturbed trajectory. As neither $p_k$ nor its coefficient $a_k$ owes anything to the noise,
    and the newest noise times the sum of scores has the identity for its mean, what is added
    equals on average what is taken off: the estimate is unbiased for whatever $p_k$, on every
    loss. The coefficient is fitted, for each window of the episode, to earlier episodes.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | as `GPES` | three states, accumulator | $3 N W$ and a reverse pass | needed |

    Prefer it to `GPES` and `PES` (a period of one window) if windows can be differentiated and
    their gradients say something of the whole; `ControlledNRES` is the one without a period. It
    costs more than it gains if a window's gradient says nothing.

    **Arguments:**

    - `num_workers`: antithetic pairs, each with an unperturbed trajectory beside it.
    - `window`: steps between estimates.
    - `period`: steps for which a noise is kept; must divide the window or be a multiple of it.
      `None` for the episode.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `control`: the coefficient: `FittedWindowControl()`, or `WindowGradientControl()` for one.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`. With a fitted control they must not be
      drawn together across episodes; by default they are not.
    - `phases`: where in their episodes workers start: `EvenPhases()`, `IndependentPhases()`, or
      `Staggered()`, which runs no window before the first update.

    **Raises:** `ValueError` for a count below 1, a period that does not fit the window, a sigma
    that is not positive, or a control that the directions exclude.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.ControlledGPES(num_workers=100, window=10, period=50, sigma=0.1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # three arms, 100 workers, a window
    3000

    **Reference:** Vicol, Metz, Sohl-Dickstein (2021), arXiv 2112.13835, for the control.
    """

    num_workers: int
    window: int
    period: int | None
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    control: AbstractControl = eqx.field(default=FittedWindowControl(), kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("vicol2021", "li2023")

    def __check_init__(self):
        check_window_control(self.control)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=self.period,
            probe=ControlledAntithetic(),
            sigma=self.sigma,
            control=self.control,
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
