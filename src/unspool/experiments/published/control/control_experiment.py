"""Shared code of the control experiments."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ...._counts import check_fields
from ...._estimator import AbstractEstimator
from ...._random import seeded_key
from ....problems.control import AbstractMujocoProblem
from ....records import Claim, Details, Expectation
from ...base import AbstractExperiment, Entry, EvaluationPlan, Optimizer, Picture, Trace
from ...prose import prose
from ..as_published import as_published

_FRAMES, _FRAME_SIZE = 8, (240, 180)


@dataclass(frozen=True)
class AbstractControlExperiment(AbstractExperiment):
    """Trainings of one policy by several estimators, judged by the return of whole episodes.

    The metric is the undiscounted return of the unperturbed policy, the mean over episodes with
    fresh starts. Two trainings run side by side, so that a simulation has one thread.
    """

    references: ClassVar[tuple[str, ...]] = ("li2023", "vicol2021")
    thresholds: ClassVar[tuple[float, ...]]
    frames: ClassVar[tuple[int, int]]
    """The step of the first picture of a strip, and steps from one to the next."""
    text_module: ClassVar[str]
    """The module beside which the description lies."""
    claims: ClassVar[tuple[Claim, ...]] = ()
    expected: ClassVar[tuple[Expectation, ...]] = ()

    seeds: int
    num_episodes: int
    evaluate_every: int

    def __post_init__(self):
        check_fields(self)

    @property
    @abstractmethod
    def problem(self) -> AbstractMujocoProblem:
        """The body and its policy."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        shape = jax.eval_shape(lambda: self.problem.init_params(key=seeded_key(0))).shape
        return tuple(f"weight {row} {column}" for row, column in np.ndindex(*shape))

    def control_entry(
        self, label: str, estimator: AbstractEstimator, optimizer: Optimizer, num_updates: int
    ) -> Entry:
        """A training; `num_updates` is rounded so that the last one is evaluated."""
        every = min(self.evaluate_every, num_updates)
        plan = EvaluationPlan(self.problem, every, self.num_episodes)
        rounded = num_updates - num_updates % every
        return Entry(label, self.problem, as_published(estimator), optimizer, rounded, every, plan)

    def details(self):
        return Details(
            description=prose(self.text_module, **asdict(self)),
            metric="return",
            metric_scale="linear",
            metric_factor=-float(self.problem.horizon),
            thresholds=self.thresholds,
            expected=self.expected,
            claims=self.claims,
        )

    def pictures(self, traces: Mapping[str, tuple[Trace, ...]]) -> list[Picture]:
        """A strip of pictures of each label's policy; none where nothing can be drawn."""
        try:
            return [self._strip(label, found[0]) for label, found in traces.items() if found]
        except RuntimeError as error:
            warnings.warn(f"the report is without pictures: {error}", stacklevel=2)
            return []

    def _strip(self, label: str, trace: Trace) -> Picture:
        start, every = self.frames
        problem = self.problem
        like = problem.init_params(key=seeded_key(0))
        params = ravel_pytree(like)[1](trace.params[-1].astype(np.float32))
        last = start + every * (_FRAMES - 1)
        pictures = problem.render(
            params, seed=trace.seed, num_steps=last, every=every, size=_FRAME_SIZE
        )
        shown = pictures[-_FRAMES:]
        seconds = every * problem.seconds
        return Picture(
            label,
            f"How it moves, trained by {label}",
            f"Seed {trace.seed}, after its last update: {len(shown)} pictures, {seconds:.3g} "
            "seconds apart, by a camera that follows the torso.",
            np.concatenate(shown, axis=1),
        )
