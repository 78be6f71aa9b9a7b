"""Two constants of the Lorenz system, with a sigma that falls."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from ... import NRES, Annealing, ControlledNRES, GaussianDirections, LatticeDirections
from ...problems import Lorenz, LorenzFromRandomStarts
from .base import AbstractBeyondExperiment, Training
from .optimizers import adam, adam_in_sigmas, sgd

_GAUSSIAN, _LATTICE = GaussianDirections(), LatticeDirections()


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
    factors: ClassVar[tuple[float, ...]] = tuple(round(1.5**k, 3) for k in range(-6, 7))
    problem: ClassVar[Lorenz] = Lorenz()

    @property
    def judge(self):
        return LorenzFromRandomStarts(), 1000

    def trainings(self):
        published = NRES(200, 100, 0.04, directions=_GAUSSIAN)
        tuned = NRES(40, 100, 0.03, directions=_GAUSSIAN)
        annealed = NRES(100, 100, Annealing(0.18, floor=0.012), directions=_LATTICE)
        falling = adam(tenth_after=1231, b1=0.8, b2=0.98)
        return {
            "NRES, published": Training(published, sgd(), 1e-5, 1500, 20),
            "NRES, tuned": Training(tuned, falling, 0.01, 1231, 20),
            "NRES, annealed": Training(annealed, adam_in_sigmas(b1=0.8, b2=0.99), 1.8, 260, 10),
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
