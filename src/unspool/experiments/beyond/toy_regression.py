"""A learning-rate schedule on a chaotic landscape, with a sigma that falls."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from ... import NRES, Annealing, ControlledNRES, GaussianDirections, LatticeDirections
from ...problems import ToyRegression
from .base import AbstractBeyondExperiment, Training
from .optimizers import adam, adam_in_sigmas
from .smoothed import Smoothed

_GAUSSIAN, _LATTICE = GaussianDirections(), LatticeDirections()


@dataclass(frozen=True)
class BeyondToyRegressionExperiment(AbstractBeyondExperiment):
    """A learning-rate schedule on a chaotic landscape: past `NRES`, published and tuned.

    **Arguments:**

    - `seeds`: number of seeds.
    """

    name: ClassVar[str] = "beyond-toy-regression"
    title: ClassVar[str] = "Past NRES: a learning-rate schedule on a chaotic landscape"
    references: ClassVar[tuple[str, ...]] = ("li2023", "vicol2021")
    parameter_names: ClassVar[tuple[str, ...]] = ("log rate at the start", "log rate at the end")
    metric: ClassVar[str] = "smoothed loss"
    threshold: ClassVar[float] = 6.5
    factors: ClassVar[tuple[float, ...]] = tuple(2.0**k for k in range(-4, 5))
    problem: ClassVar[ToyRegression] = ToyRegression()

    @property
    def judge(self):
        return Smoothed(ToyRegression(), 0.1), 64

    def trainings(self):
        published = NRES(50, 10, 0.3, directions=_GAUSSIAN)
        tuned = NRES(5, 10, 0.5, directions=_GAUSSIAN)
        annealed = NRES(5, 10, Annealing(0.6, floor=0.1), directions=_LATTICE)
        return {
            "NRES, published": Training(published, adam(b1=0.99), 0.01, 2000, 10),
            "NRES, tuned": Training(tuned, adam(), 0.03, 3000, 10),
            "annealed": Training(annealed, adam_in_sigmas(b1=0.8, b2=0.99), 2.0, 300, 5),
        }

    def estimators(self):
        return {
            "NRES": NRES(50, 10, 0.3, directions=_GAUSSIAN),
            "NRES, lattice": NRES(50, 10, 0.3, directions=_LATTICE),
            "ControlledNRES": ControlledNRES(50, 10, 0.3),
        }

    def places(self):
        found = {"start": (-4.0, -4.0), "on the way": (0.0, 0.0), "good region": (2.7, -3.0)}
        return {name: jnp.array(place) for name, place in found.items()}
