"""A swimmer of three links: the published comparison of online evolution strategies."""

from dataclasses import dataclass
from typing import ClassVar

from .... import NRES, PES, FullES, TruncatedES
from ....problems.control import Swimmer
from ....records import Claim, Expectation
from ...base import Entry, sgd
from .control_experiment import AbstractControlExperiment

_SIGMA = 0.3
_GOOD = "ends between 335 and 347 in the publication"


@dataclass(frozen=True)
class SwimmerExperiment(AbstractControlExperiment):
    """Teaching a snake of three links to swim with a linear policy.

    The settings of Li et al. (2023), arXiv 2304.12180, in MuJoCo.

    **Arguments:**

    - `seeds`: number of seeds; the first five are the published ones.
    - `num_updates`: updates of every method; 200 are published.
    - `num_episodes`: episodes per evaluation.
    - `evaluate_every`: updates between evaluations.
    - `horizon`: steps of an episode.
    """

    name: ClassVar[str] = "swimmer"
    title: ClassVar[str] = "Swimmer, a linear policy"
    text_module: ClassVar[str] = __name__
    source: ClassVar[str] = "Li et al. (2023), arXiv 2304.12180"
    published_seeds: ClassVar[tuple[int, ...]] = (23, 29, 31, 37, 41)
    thresholds: ClassVar[tuple[float, ...]] = (325.0,)
    frames: ClassVar[tuple[int, int]] = (300, 10)
    claims: ClassVar[tuple[Claim, ...]] = (
        *(Claim(label, "final", 325.0, 365.0, _GOOD) for label in ("NRES", "PES", "FullES")),
        Claim("TES", "final", None, 100.0, "is blind to what a window leads to: 59 at best"),
    )
    expected: ClassVar[tuple[Expectation, ...]] = (
        Expectation("NRES", 325.0, 5.0, 30.0, "published: 14 updates, 2,400 sequential steps"),
        Expectation("PES", 325.0, 30.0, 160.0, "published: 93 updates, 10,300 sequential steps"),
        Expectation("FullES", 325.0, 10.0, 50.0, "published: 25 updates, 25,000 sequential steps"),
    )

    seeds: int = 5
    num_updates: int = 200
    num_episodes: int = 10
    evaluate_every: int = 5
    horizon: int = 1000

    @classmethod
    def at_paper_size(cls) -> "SwimmerExperiment":
        """The published numbers of episodes and evaluations, three times the work."""
        return cls(num_episodes=20, evaluate_every=1)

    @property
    def problem(self) -> Swimmer:
        return Swimmer(horizon=self.horizon, num_threads=1)

    def entries(self) -> tuple[Entry, ...]:
        return (
            self.control_entry("NRES", NRES(30, 100, sigma=_SIGMA), sgd(3.0), self.num_updates),
            self.control_entry("PES", PES(30, 100, sigma=_SIGMA), sgd(1.0), self.num_updates),
            self.control_entry("FullES", FullES(3, sigma=_SIGMA), sgd(1.0), self.num_updates),
            self.control_entry(
                "TES", TruncatedES(30, 100, sigma=_SIGMA), sgd(30.0), self.num_updates
            ),
        )
