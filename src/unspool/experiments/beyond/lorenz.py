"""Two constants of the Lorenz system, with a sigma that falls."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from ... import NRES, Annealing, ControlledNRES, GaussianDirections, LatticeDirections
from ...problems import Lorenz, LorenzFromRandomStarts
from .base import AbstractBeyondExperiment, Training
from .optimizers import adam, adam_cut_by_drift, adam_in_sigmas, sgd

_GAUSSIAN, _LATTICE = GaussianDirections(), LatticeDirections()


def _by_schedule(update):
    """A wide sigma for 80 updates, and then over 100 down to a twelfth."""
    return 0.24 / 12 ** jnp.clip((update - 80) / 100, 0, 1)


@dataclass(frozen=True)
class BeyondLorenzExperiment(AbstractBeyondExperiment):
    """Two constants of the Lorenz system: past `NRES`, published and tuned.

    **Arguments:**

    - `seeds`: number of seeds.
    """

    name: ClassVar[str] = "beyond-lorenz"
    title: ClassVar[str] = "Past NRES: two constants of the Lorenz system"
    references: ClassVar[tuple[str, ...]] = ("li2023",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log a", "log r")
    metric: ClassVar[str] = "generalization loss"
    threshold: ClassVar[float] = 52.0
    factors: ClassVar[tuple[float, ...]] = tuple(2.0**k for k in range(-4, 5))
    problem: ClassVar[Lorenz] = Lorenz()

    @property
    def judge(self):
        return LorenzFromRandomStarts(), 1000

    def trainings(self):
        published = NRES(200, 100, 0.04, directions=_GAUSSIAN)
        tuned = NRES(40, 100, 0.03, directions=_GAUSSIAN)
        falling = adam(tenth_after=1231, b1=0.8, b2=0.98)
        with_sigma = lambda sigma, directions: NRES(100, 100, sigma, directions=directions)
        annealing = Annealing(0.18, floor=0.012)
        annealed, apart = (with_sigma(annealing, each) for each in (_LATTICE, _GAUSSIAN))
        following = adam_in_sigmas(b1=0.8, b2=0.99)
        cut = adam_cut_by_drift(1.0, b1=0.8, b2=0.99)
        scheduled = with_sigma(_by_schedule, _LATTICE)
        of_schedule = adam_in_sigmas(b1=0.9, b2=0.99)
        return {
            "NRES, published": Training(published, sgd(), 1e-5, 1500, 20),
            "NRES, tuned": Training(tuned, falling, 0.01, 1231, 20),
            "annealed": Training(annealed, following, 1.8, 260, 10),
            "annealed, steps cut by drift": Training(annealed, cut, 1.0, 260, 10),
            "annealed, independent directions": Training(apart, following, 1.8, 260, 10),
            "sigma by a schedule": Training(scheduled, of_schedule, 1.6, 260, 10),
        }

    def estimators(self):
        return {
            "NRES": NRES(200, 100, 0.04, directions=_GAUSSIAN),
            "NRES, lattice": NRES(200, 100, 0.04, directions=_LATTICE),
            "ControlledNRES": ControlledNRES(200, 100, 0.04),
        }

    def places(self):
        found = {"start": (3.116, 3.7), "on the way": (2.9, 3.44), "optimum": (2.38, 3.28)}
        return {name: jnp.array(place) for name, place in found.items()}
