"""A learning-rate schedule on a chaotic landscape."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import (
    NRES,
    PES,
    RTRL,
    TBPTT,
    UORO,
    ControlledGPES,
    PESAnalytic,
    TruncatedES,
    WindowGradientControl,
)
from ..._counts import check_fields
from ...problems import ToyRegression
from ...records import Claim, Details, Expectation
from ..base import AbstractExperiment, Entry, EvaluationPlan, adam
from ..losses import surface
from ..prose import prose
from .as_published import as_published


@dataclass(frozen=True)
class ToyRegressionExperiment(AbstractExperiment):
    """Tuning a learning-rate schedule whose loss landscape is chaotic.

    The settings of Vicol et al. (2021), arXiv 2112.13835. Smoothing finds the good region; exact
    gradients, truncated or not, get stuck.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of every method.
    """

    name: ClassVar[str] = "toy-regression"
    title: ClassVar[str] = "Toy regression, a learning-rate schedule on a chaotic landscape"
    source: ClassVar[str] = "Vicol et al. (2021), arXiv 2112.13835"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log rate at the start", "log rate at the end")

    seeds: int = 5
    num_updates: int = 10_000

    def __post_init__(self):
        check_fields(self)

    @classmethod
    def at_paper_size(cls) -> "ToyRegressionExperiment":
        """The published number of updates."""
        return cls(num_updates=20_000)

    def entries(self) -> tuple[Entry, ...]:
        controlled = ControlledGPES(50, 10, 10, sigma=0.3, control=WindowGradientControl())
        return (
            self._entry("NRES", NRES(50, 10, sigma=0.3)),
            self._entry("PES", PES(50, 10, sigma=0.3)),
            self._entry("PES+Analytic", PESAnalytic(50, 10, sigma=0.3)),
            self._entry("ControlledPES", controlled),
            self._entry("TES", TruncatedES(50, 10, sigma=1.0)),
            self._entry("TBPTT", TBPTT(1, 10)),
            self._entry("RTRL", RTRL(1, 10)),
            self._entry("UORO", UORO(1, 10)),
        )

    def _entry(self, label, estimator) -> Entry:
        problem, optimizer = ToyRegression(), adam(1e-2, b1=0.99)
        every = max(1, self.num_updates // 500)
        evaluation = EvaluationPlan(problem, every)
        return Entry(
            label, problem, as_published(estimator), optimizer, self.num_updates, every, evaluation
        )

    def details(self):
        axis = np.linspace(-5, 5, 161)
        return Details(
            description=prose(__name__, num_updates=self.num_updates),
            metric="mean loss of an episode",
            metric_scale="log",
            thresholds=[20, 10, 6],
            surface=surface(ToyRegression(), axis, axis, np.zeros((1, 2)), "loss"),
            expected=[
                Expectation(label, 6, 0, 1000, "below 600 / 100 by about update 1000")
                for label in ("PES", "NRES")
            ],
            claims=_claims(),
        )


def _claims():
    """Medians over the last 1000 of 20000 updates of a replication, divided by 100."""
    stuck = "gets stuck near (0.14, -0.8); published 24.232"
    return [
        Claim("PES", "final", 5.6, 5.75, "published 5.65, to some percents"),
        Claim("NRES", "final", 5.6, 5.75, "published 5.655 for ESSingle, to some percents"),
        Claim("TES", "final", 14.6, 15.6, "biased; published about 15.1"),
        Claim("TES", "parameter:0", 1.1, 1.5, "published near (1.3, 0.7)"),
        Claim("TES", "parameter:1", 0.5, 0.9, "published near (1.3, 0.7)"),
        *(Claim(label, "final", 24.227, 24.237, stuck) for label in ("TBPTT", "RTRL", "UORO")),
    ]
