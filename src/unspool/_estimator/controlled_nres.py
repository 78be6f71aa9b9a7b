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


class ControlledNRES(AbstractPerturbed):
    r"""Noise-reuse evolution strategies with a fitted control variate.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \Big[ a_k p_k + \frac{z_i}{\sigma} \Big(
       \sum_{t \in \text{window } k} \frac{\ell_t^{+} - \ell_t^{-}}{2}
       - a_k \, p_k \cdot \sigma z_i \Big) \Big]^{(i)} $$

    with $p_k$ the gradient of the losses of window $k$, the state before it constant, on a third,
    unperturbed trajectory. Neither it nor its coefficient $a_k$, which is fitted for each window of
    the episode to earlier episodes, owes anything to the noise: the mean is that of `NRES`, on
    every loss, and the noise of what the gradient explains is gone. Noise may last an episode, and
    an episode goes through each window once: so what a coefficient is fitted to has not seen the
    noise that it is applied to.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | as `NRES` | three states | $3 N W$ and a reverse pass | needed |

    Prefer it to `NRES` if windows can be differentiated, most of all with many parameters: on a
    learned optimizer and a recurrent net the variance was a fifth to a twentieth of that of `NRES`
    with as many pairs. It costs more than it gains if losses are chaotic within a window, or jump.
    A reverse pass takes as long as many windows forward: have several pairs in a group.

    **Arguments:**

    - `num_workers`: antithetic pairs.
    - `window`: steps between estimates.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either.
    - `pairs_per_group`: how many pairs share clock, keys and data, and one unperturbed trajectory;
      `num_workers` is a multiple.
    - `control`: the coefficient: `FittedWindowControl()`, or `WindowGradientControl()` for one.
    - `directions`: how directions are drawn: `GaussianDirections()`, `OrthogonalDirections(size)`
      or, for up to three parameters, `LatticeDirections()`. With a fitted control they must not be
      drawn together across episodes; by default they are not.
    - `phases`: where in their episodes workers start: `EvenPhases()`, `IndependentPhases()`, or
      `Staggered()`, which runs no window before the first update.

    **Raises:** `ValueError` for a count below 1, a sigma that is not positive, or a control that
    the directions exclude.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=100)
    >>> estimator = unspool.ControlledNRES(num_workers=100, window=10, sigma=0.1, pairs_per_group=4)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.02))
    >>> estimator.plan(problem.horizon).num_steps  # of 100 pairs and 25 unperturbed arms, a window
    2250

    **Reference:** Li, Harrison, Sohl-Dickstein, Smith, Metz (2023), arXiv 2304.12180; Vicol, Metz,
    Sohl-Dickstein (2021), arXiv 2112.13835, for the control.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    control: AbstractControl = eqx.field(default=FittedWindowControl(), kw_only=True)
    directions: AbstractDirections = eqx.field(default=AutomaticDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    estimand: ClassVar[str] = "smoothed gradient"
    references: ClassVar[tuple[str, ...]] = ("li2023", "vicol2021")

    def __check_init__(self):
        check_window_control(self.control)

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=None,
            probe=ControlledAntithetic(),
            sigma=self.sigma,
            control=self.control,
            directions=self.directions,
            phases=self.phases,
            pairs=self.pairs_per_group,
        )
