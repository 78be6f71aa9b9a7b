"""Two constants of the Lorenz system, with a sigma that falls."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import optax

from ... import NRES, Annealing, GaussianDirections, LatticeDirections, scale_by_sigma
from ...problems import Lorenz, LorenzFromRandomStarts
from .base import AbstractBeyondExperiment, Training


@dataclass(frozen=True)
class BeyondLorenzExperiment(AbstractBeyondExperiment):
    r"""Published and tuned `NRES` on the Lorenz system, against a sigma that is annealed.

    **Arguments:**

    - `seeds`: number of seeds.
    """

    name: ClassVar[str] = "beyond-lorenz"
    title: ClassVar[str] = "Past NRES: two constants of the Lorenz system"
    references: ClassVar[tuple[str, ...]] = ("li2023",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log a", "log r")
    metric: ClassVar[str] = "generalization loss"
    threshold: ClassVar[float] = 52.0
    factors: ClassVar[tuple[float, ...]] = tuple(1.5**k for k in range(-6, 7))
    problem: ClassVar[Lorenz] = Lorenz()

    @property
    def judge(self):
        return LorenzFromRandomStarts(), 1000

    def places(self):
        found = {"start": (3.116, 3.7), "on the way": (2.9, 3.44), "optimum": (2.38, 3.28)}
        return {name: jnp.array(place) for name, place in found.items()}

    def trainings(self):
        gaussian = {"directions": GaussianDirections()}
        published = NRES(200, 100, 0.04, **gaussian)
        tuned = NRES(40, 100, 0.03, **gaussian)
        annealed = NRES(100, 100, Annealing(0.18, floor=0.012), directions=LatticeDirections())
        return {
            "NRES, published": Training(
                published, optax.sgd, ("sgd", {"learning_rate": 1e-5}), 1500, 20
            ),
            "NRES, tuned": Training(
                tuned, _falling, ("adam", {"learning_rate": 0.01} | _TUNED), 1231, 20
            ),
            "NRES, annealed": Training(
                annealed, _following, ("adam", {"learning_rate": 1.8} | _ANNEALED), 260, 10
            ),
        }


_TUNED = {"b1": 0.8, "b2": 0.98, "tenth_after": 1231}
_ANNEALED = {"b1": 0.8, "b2": 0.99, "scale_by_sigma": True}


def _falling(rate):
    schedule = optax.exponential_decay(rate, _TUNED["tenth_after"], 0.1)
    return optax.adam(schedule, b1=_TUNED["b1"], b2=_TUNED["b2"])


def _following(rate):
    adam = optax.adam(rate, b1=_ANNEALED["b1"], b2=_ANNEALED["b2"])
    return optax.chain(adam, scale_by_sigma())
