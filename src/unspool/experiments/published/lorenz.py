"""Two constants of the Lorenz system: the published comparison of online evolution strategies."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import BPTT, NRES, PES, TBPTT, FullES, TruncatedES
from ..._counts import check_fields
from ...problems import Lorenz, LorenzFromRandomStarts
from ...records import Claim, Details, Expectation, Marker
from ..base import AbstractExperiment, Entry, EvaluationPlan, Optimizer, sgd
from ..losses import draw_shifts, surface
from ..prose import prose
from .as_published import as_published

_SIGMA = 0.04


@dataclass(frozen=True)
class LorenzExperiment(AbstractExperiment):
    r"""Learning two constants of the Lorenz system from a chaotic trajectory.

    The settings of Li et al. (2023), arXiv 2304.12180: window 100, $\sigma = 0.04$, 200 pairs (10
    for FullES), gradient descent. The metric is the mean squared error of the third coordinate over
    fresh trajectories; it starts at 312, and "converged" means 47 to 48.

    **Arguments:**

    - `seeds`: number of seeds; the first five are the published ones.
    - `num_episodes`: trajectories per evaluation.
    - `evaluate_every`: updates between evaluations.
    - `updates`: the published numbers of updates are multiplied by this.
    """

    name: ClassVar[str] = "lorenz"
    title: ClassVar[str] = "Lorenz system, two constants from a chaotic trajectory"
    source: ClassVar[str] = "Li et al. (2023), arXiv 2304.12180"
    references: ClassVar[tuple[str, ...]] = ("li2023",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log a", "log r")

    seeds: int = 5
    num_episodes: int = 1000
    evaluate_every: int = 20
    updates: float = 1.0

    def __post_init__(self):
        check_fields(self)
        if not 0 < self.updates < float("inf"):
            raise ValueError(f"updates must be a finite number above 0, got {self.updates}")

    @classmethod
    def at_paper_size(cls) -> "LorenzExperiment":
        """The published numbers of trajectories and evaluations, a matter of 15 minutes."""
        return cls(num_episodes=10_000, evaluate_every=10)

    def entries(self) -> tuple[Entry, ...]:
        return (
            self._entry("NRES", NRES(200, 100, sigma=_SIGMA), sgd(1e-5), 5000),
            self._entry("FullES", FullES(10, sigma=_SIGMA), sgd(3e-5), 2000),
            self._entry("PES", PES(200, 100, sigma=_SIGMA), sgd(1e-5, tenth_from=1000), 10_000),
            self._entry("TES", TruncatedES(200, 100, sigma=_SIGMA), sgd(3e-4), 5000),
            self._entry("TBPTT", TBPTT(200, 100), sgd(3e-4), 10_000),
            self._entry("BPTT", BPTT(1), sgd(1e-8), 1000),
        )

    def _entry(self, label, estimator, optimizer: Optimizer, num_updates: int) -> Entry:
        evaluation = EvaluationPlan(
            LorenzFromRandomStarts(), self.evaluate_every, self.num_episodes
        )
        num_updates = max(1, round(self.updates * num_updates))
        return Entry(
            label,
            Lorenz(),
            as_published(estimator),
            optimizer,
            num_updates,
            self.evaluate_every,
            evaluation,
        )

    def details(self):
        draws = draw_shifts(_SIGMA, 256)
        x, y = np.linspace(2.1, 3.9, 73), np.linspace(3.1, 3.9, 41)
        return Details(
            description=prose(__name__, num_episodes=self.num_episodes),
            metric="generalization loss",
            metric_scale="log",
            thresholds=[100, 80, 60, 52],
            surface=surface(Lorenz(), x, y, draws, "training loss smoothed with sigma = 0.04"),
            markers=[Marker("truth", np.log([10.0, 28.0]).tolist())],
            expected=_expected(),
            claims=_claims(),
        )


def _expected():
    """Ranges over five seeds of an independent replication in float32."""
    ranges = {
        "NRES": ((100, 440, 560), (80, 640, 800), (60, 700, 840), (52, 700, 900)),
        "FullES": ((100, 140, 280), (80, 200, 360), (60, 220, 360), (52, 220, 360)),
        "PES": ((100, 300, 900), (80, 620, 3460), (60, 660, 4960), (52, 700, 8860)),
    }
    note = "range over five seeds of a replication"
    return [Expectation(label, *row, note) for label, rows in ranges.items() for row in rows]


def _claims():
    return [
        Claim("NRES", "final", 47.4, 48.3, "settles at the minimum of the smoothed loss"),
        Claim("FullES", "final", 46.6, 47.9, "settles at the minimum of the smoothed loss"),
        Claim("PES", "final", 48.6, 60.1, "is slower, for its estimates are noisier"),
        Claim("TES", "final", 73, 86, "settles at a wrong place"),
        Claim("TBPTT", "final", 71.5, 74, "settles at a wrong place"),
        Claim("NRES", "parameter:0", 2.380, 2.383, "log a where the smoothed loss is least"),
        Claim("NRES", "parameter:1", 3.279, 3.293, "log r where the smoothed loss is least"),
        Claim("FullES", "parameter:0", 2.372, 2.396, "log a where the smoothed loss is least"),
        Claim("FullES", "parameter:1", 3.279, 3.290, "log r where the smoothed loss is least"),
        Claim("PES", "parameter:0", 2.24, 2.34, "log a"),
        Claim("PES", "parameter:1", 3.268, 3.283, "log r"),
        Claim("TES", "parameter:0", 3.58, 3.76, "log a, wrong: the truth is 2.303"),
        Claim("TBPTT", "parameter:0", 3.70, 3.74, "log a, wrong: published as about 3.72"),
        Claim("TBPTT", "parameter:1", 3.27, 3.29, "log r, published as 3.28"),
    ]
