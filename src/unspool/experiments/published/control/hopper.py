"""A leg that must not fall: episodes that end early, sooner for one arm than for the other."""

from dataclasses import dataclass
from typing import ClassVar

from .... import NRES, PES, FullES, TruncatedES
from ....problems.control import Hopper
from ...base import Entry, adam
from .control_experiment import AbstractControlExperiment

_SIGMA, _RATE, _NORMALIZE_OVER = 0.1, 0.02, 5000


@dataclass(frozen=True)
class HopperExperiment(AbstractControlExperiment):
    """Teaching a leg to stay upright with a linear policy: episodes that end early.

    A setting of this library's, in MuJoCo.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of every method but FullES, which has half of them.
    - `num_episodes`: episodes per evaluation.
    - `evaluate_every`: updates between evaluations.
    - `horizon`: steps of an episode at most.
    """

    name: ClassVar[str] = "hopper"
    title: ClassVar[str] = "Hopper, a linear policy, episodes that end early"
    text_module: ClassVar[str] = __name__
    source: ClassVar[str] = "made for this library"
    thresholds: ClassVar[tuple[float, ...]] = (900.0, 500.0)
    frames: ClassVar[tuple[int, int]] = (0, 4)

    seeds: int = 3
    num_updates: int = 300
    num_episodes: int = 10
    evaluate_every: int = 10
    horizon: int = 1000

    @property
    def problem(self) -> Hopper:
        return Hopper(self.horizon, normalize_over=_NORMALIZE_OVER, num_threads=1)

    def entries(self) -> tuple[Entry, ...]:
        count, step = self.num_updates, adam(_RATE)
        return (
            self.control_entry("NRES", NRES(50, 20, sigma=_SIGMA), step, count),
            self.control_entry("PES", PES(50, 20, sigma=_SIGMA), step, count),
            self.control_entry("FullES", FullES(2, sigma=_SIGMA), step, max(1, count // 2)),
            self.control_entry("TES", TruncatedES(50, 20, sigma=_SIGMA), step, count),
        )
