"""Targets: the gradients that the means of estimators are compared with."""

from typing import Any

import equinox as eqx

from ._counts import check_count
from ._show import show


class Target(eqx.Module):
    r"""The gradient that an estimator's mean equals, for a closed form or a simulation of it.

    The parameters are copied once per step; step $t$ of an episode (counted from 0) runs with
    $\theta + \sigma z_{\lfloor t / \mathrm{period} \rfloor}$, the $z$ independent and standard
    normal; the start state is made with $\theta + \sigma z_0$. The gradient is that of the
    expected time average $\frac{1}{T} \sum_t \ell_t$ with respect to a common shift of all
    copies. If `window` is shorter than the episode, the steps before the window that holds the
    loss run unperturbed and count as constant.

    **Arguments:**

    - `window`: steps through which the gradient reaches back at most, or `None` for the episode.
      Windows start at multiples of `window`.
    - `period`: steps for which one noise is kept, or `None` for the episode.
    - `sigma`: standard deviation of the noise, a scalar or a tree like the parameters; 0 for the
      gradient without smoothing.

    **Raises:** `ValueError` for a window or a period below 1.
    """

    window: int | None = None
    period: int | None = None
    sigma: Any = 0.0

    __repr__ = show

    def __check_init__(self):
        check_count(window=self.window, period=self.period)

    @property
    def is_smoothed(self) -> bool:
        return not (isinstance(self.sigma, (int, float)) and self.sigma == 0)
