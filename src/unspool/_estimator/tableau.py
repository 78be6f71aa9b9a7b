"""The table of perturbed estimators."""

import equinox as eqx

from .automatic_directions import AutomaticDirections
from .control import AbstractControl
from .directions import AbstractDirections
from .phases import AbstractPhases, EvenPhases
from .probe import AbstractProbe
from .sigma import AbstractSigma, Sigma, as_scale


class Tableau(eqx.Module):
    """One row of the table of perturbed estimators; `None` stands for a whole episode.

    - `window`: steps between estimates.
    - `period`: steps for which a direction is kept.
    - `probe`: how derivatives are measured.
    - `sigma`: scale of the perturbation.
    - `rejoins`: whether a group's arms are brought together after every window.
    - `phases`: where in the episode groups start.
    - `directions`: how directions are drawn.
    - `control`: the coefficient of the probe's guess, where it makes one.
    - `pairs`: antithetic pairs of a group, which share clock, keys and data.
    """

    window: int | None
    period: int | None
    probe: AbstractProbe
    sigma: Sigma = 1.0
    rejoins: bool = False
    phases: AbstractPhases = EvenPhases()
    directions: AbstractDirections = AutomaticDirections()
    control: AbstractControl | None = None
    pairs: int = 1

    @property
    def extra_stats(self) -> tuple[str, ...]:
        """Names of the statistics that not every estimator has."""
        known = {
            "derivative_std": True,
            "uncontrolled": self.control is not None,
        }
        return tuple(name for name, is_there in known.items() if is_there)

    @property
    def scale(self) -> AbstractSigma:
        """The object that `sigma` stands for."""
        return as_scale(self.sigma)


def check_period(window: int | None, period: int | None) -> None:
    """Raises `ValueError` unless a period and a window fit one another."""
    if window is None or period is None or window % period == 0 or period % window == 0:
        return
    legal = [p for p in range(1, 2 * period + window) if window % p == 0 or p % window == 0]
    below = max(p for p in legal if p < period)
    above = min(p for p in legal if p > period)
    raise ValueError(
        f"period must divide window or be a multiple of it, got period={period} with "
        f"window={window}; the nearest legal periods are {below} and {above}"
    )
