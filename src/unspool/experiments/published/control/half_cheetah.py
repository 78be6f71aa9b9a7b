"""A running body with six motors: the published comparison of online evolution strategies."""

from dataclasses import dataclass
from typing import ClassVar

from .... import NRES, PES, FullES, TruncatedES
from ....problems.control import HalfCheetah, LinearPolicy
from ....records import Claim, Expectation
from ...base import Entry, sgd
from .control_experiment import AbstractControlExperiment

_SIGMA, _SCALE = 0.004, 0.03


@dataclass(frozen=True)
class HalfCheetahExperiment(AbstractControlExperiment):
    """Teaching a body with six motors to run with a linear policy.

    The settings of Li et al. (2023), arXiv 2304.12180, in MuJoCo; fewer updates and seeds unless
    asked for.

    **Arguments:**

    - `seeds`: number of seeds; the first five are the published ones.
    - `num_updates`: updates of NRES; 1000 are published.
    - `num_pes_updates`: those of PES, whose learning rate is a tenth; 30000 are published.
    - `num_other_updates`: those of FullES and TES; 1000 are published.
    - `num_episodes`: episodes per evaluation.
    - `evaluate_every`: updates between evaluations.
    - `horizon`: steps of an episode.
    """

    name: ClassVar[str] = "half-cheetah"
    title: ClassVar[str] = "HalfCheetah, a linear policy"
    text_module: ClassVar[str] = __name__
    source: ClassVar[str] = "Li et al. (2023), arXiv 2304.12180"
    published_seeds: ClassVar[tuple[int, ...]] = (83, 89, 97, 101, 103)
    thresholds: ClassVar[tuple[float, ...]] = (3430.0, 2000.0)
    frames: ClassVar[tuple[int, int]] = (300, 2)
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("NRES", "final", 3430.0, 4400.0, "peaks at 4103 in the publication"),
        Claim("TES", "final", None, 3430.0, "never gets there: 2235 at best"),
    )
    expected: ClassVar[tuple[Expectation, ...]] = (
        Expectation("NRES", 3430.0, 200.0, 800.0, "published: after 460 updates, 10,200 steps"),
    )

    seeds: int = 3
    num_updates: int = 1250
    num_pes_updates: int = 200
    num_other_updates: int = 200
    num_episodes: int = 10
    evaluate_every: int = 20
    horizon: int = 1000

    @classmethod
    def at_paper_size(cls) -> "HalfCheetahExperiment":
        """The published numbers of everything: days on two cores, most of them for PES."""
        return cls(
            seeds=5,
            num_updates=1000,
            num_pes_updates=30_000,
            num_other_updates=1000,
            num_episodes=20,
            evaluate_every=4,
        )

    @property
    def problem(self) -> HalfCheetah:
        return HalfCheetah(self.horizon, LinearPolicy(_SCALE), num_threads=1)

    def entries(self) -> tuple[Entry, ...]:
        other = self.num_other_updates
        return (
            self.control_entry("NRES", NRES(300, 20, sigma=_SIGMA), sgd(3e-5), self.num_updates),
            self.control_entry("PES", PES(300, 20, sigma=_SIGMA), sgd(3e-6), self.num_pes_updates),
            self.control_entry("FullES", FullES(6, sigma=_SIGMA), sgd(3e-5), other),
            self.control_entry("TES", TruncatedES(300, 20, sigma=_SIGMA), sgd(3e-5), other),
        )
