"""The interface of experiments: trainings, measurements, and published results."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import optax

from .._black_box import AbstractBlackBox
from .._custom_types import Params, RandomKey
from .._describe import describe, environment
from .._estimator import AbstractEstimator
from .._logger import AbstractLogger
from .._problem import AbstractProblem
from .._run import Run
from ..records import Chart, Details, Experiment, Table
from ..records.files import FORMAT

PUBLISHED_SEEDS = (101, 103, 107, 109, 113)
_FIRST_FURTHER_SEED = 114


class Optimizer(NamedTuple):
    """An optax optimizer, with its name and options for `config.json`."""

    transformation: optax.GradientTransformation
    name: str
    options: dict[str, Any]


def sgd(learning_rate: float, tenth_from: int | None = None) -> Optimizer:
    """Gradient descent, with a tenth of the rate from the update `tenth_from` on."""
    if tenth_from is None:
        return Optimizer(optax.sgd(learning_rate), "sgd", {"learning_rate": learning_rate})
    schedule = optax.piecewise_constant_schedule(learning_rate, {tenth_from: 0.1})
    options = {"learning_rate": learning_rate, "tenth_from": tenth_from}
    return Optimizer(optax.sgd(schedule), "sgd", options)


def adam(
    learning_rate: float,
    b1: float = 0.9,
    tenth_after: int | None = None,
    eps_root: float = 0.0,
) -> Optimizer:
    """Adam, with a rate that falls exponentially to a tenth within `tenth_after` updates."""
    options: dict[str, Any] = {"learning_rate": learning_rate, "b1": b1}
    options |= {"eps_root": eps_root} if eps_root else {}
    if tenth_after is None:
        return Optimizer(optax.adam(learning_rate, b1=b1, eps_root=eps_root), "adam", options)
    schedule = optax.exponential_decay(learning_rate, tenth_after, 0.1)
    transformation = optax.adam(schedule, b1=b1, eps_root=eps_root)
    return Optimizer(transformation, "adam", options | {"tenth_after": tenth_after})


class Trace(NamedTuple):
    """The parameters of one run as they were logged, and their evaluations.

    - `seed`: the run's.
    - `updates`: the updates of the records, shape (records,).
    - `params`: the parameters there, shape (records, params).
    - `steps`: problem steps run by then, warming up included, shape (records,).
    - `seconds`: time spent in updates by then, shape (records,).
    - `evaluated`: the updates of the evaluations, shape (evaluations,).
    - `losses`: the losses there, NaN if they are not finite, shape (evaluations,).
    """

    seed: int
    updates: np.ndarray
    params: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    evaluated: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class EvaluationPlan:
    """The evaluation of the logged parameters once training is over.

    - `problem`: what they are tried on, unperturbed.
    - `every`: updates between evaluations, a multiple of the updates between records.
    - `num_episodes`: episodes per evaluation, the same ones at every update of a seed.
    """

    problem: AbstractProblem | AbstractBlackBox
    every: int
    num_episodes: int = 1


class AbstractEntry(abc.ABC):
    """One curve of an experiment: what is run with every seed, and judged when it is over.

    - `label`: its name in tables and figures.
    - `problem`: what parameters are wanted for; its `init_params` draws where to start.
    - `evaluation`: how the logged parameters are judged.
    """

    label: str
    problem: AbstractProblem | AbstractBlackBox
    evaluation: EvaluationPlan

    @property
    @abc.abstractmethod
    def training_steps(self) -> int:
        """Problem steps of one run that gets to its end, at most; evaluations are not in."""

    @property
    @abc.abstractmethod
    def num_evaluations(self) -> int:
        """Evaluations of a run that gets to its end, at most."""

    @property
    def evaluation_steps(self) -> int:
        """Problem steps of one evaluation."""
        return self.evaluation.num_episodes * self.evaluation.problem.horizon

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages beyond the library's own that running it takes."""
        return ()

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """The entries `estimator`, `optimizer`, `num_updates`, `environment` of `config.json`."""

    @abc.abstractmethod
    def run(self, run: Run, key: RandomKey, params: Params) -> Iterator[tuple[int, float]]:
        """Runs from the start `params`, or goes on, and writes lines of `metrics.jsonl`.

        Yields the problem steps run so far and the last loss.
        """


@dataclass(frozen=True)
class Entry(AbstractEntry):
    """A training as one curve of an experiment.

    - `label`: its name in tables and figures.
    - `problem`, `estimator`, `optimizer`, `num_updates`: what is trained, and how.
    - `log_every`: updates between records.
    - `evaluation`: how the logged parameters are judged.
    """

    label: str
    problem: AbstractProblem | AbstractBlackBox
    estimator: AbstractEstimator
    optimizer: Optimizer
    num_updates: int
    log_every: int
    evaluation: EvaluationPlan

    @property
    def num_evaluations(self) -> int:
        return len(range(0, self.num_updates, self.evaluation.every)) + 1

    @property
    def training_steps(self) -> int:
        horizon = self.problem.horizon
        windows = self.num_updates + self.estimator.plan(horizon).num_warmup_windows
        return windows * self.estimator.plan(horizon).num_steps

    def settings(self) -> dict[str, Any]:
        return {
            "estimator": describe(self.estimator) | {"estimand": self.estimator.estimand},
            "optimizer": {"name": self.optimizer.name, "options": self.optimizer.options},
            "num_updates": self.num_updates,
            "environment": environment(),
        }

    def run(self, run: Run, key: RandomKey, params: Params) -> Iterator[tuple[int, float]]:
        records = run.train(
            self.problem, self.estimator, self.optimizer.transformation,
            num_updates=self.num_updates, key=key, params=params, log_every=self.log_every,
        )  # fmt: skip
        for record in records:
            yield record.warmup_steps + record.steps, record.loss


class Picture(NamedTuple):
    """A picture for the report.

    - `name`: that of its file, without the ending.
    - `title`, `note`: what is written above and below it.
    - `pixels`: what is seen, shape (height, width, 3), bytes.
    """

    name: str
    title: str
    note: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """Numbers for a chart that are taken with every seed, once all trainings are over.

    - `label`: its name, other than that of any entry.
    - `num_steps`: problem steps with one seed.
    - `measure`: from a seed's key and what that seed's trainings have logged, label by label, the
      numbers and the mean loss that was met on the way.
    """

    label: str
    num_steps: int
    measure: Callable[[RandomKey, Mapping[str, Trace]], tuple[list[float], float]]


class AbstractExperiment(abc.ABC):
    """Trainings that are compared with one another and with what was published.

    One that has no trainings has measurements instead.

    A final experiment is a frozen dataclass. Its fields are the options of the command line,
    `seeds` (the number of seeds) among them; they are plain values, so that the experiment can be
    sent to another process, where nothing has been computed yet.

    **Example:**

    >>> import dataclasses
    >>> from unspool.experiments import AbstractExperiment, Entry, EvaluationPlan, Optimizer
    >>> from unspool.records import Details
    >>> @dataclasses.dataclass(frozen=True)
    ... class Small(AbstractExperiment):
    ...     name, title, source = "small", "A small experiment", "nobody"
    ...     references, parameter_names = (), ("theta",)
    ...     seeds: int = 1
    ...     def entries(self):
    ...         problem = unspool.problems.InfluenceBalancing()
    ...         optimizer = Optimizer(optax.sgd(0.01), "sgd", {"learning_rate": 0.01})
    ...         plan = EvaluationPlan(problem, every=1)
    ...         return (Entry("BPTT", problem, unspool.BPTT(), optimizer, 2, 1, plan),)
    ...     def details(self):
    ...         return Details(metric="loss")
    >>> [entry.label for entry in Small().entries()]
    ['BPTT']
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    # What the parameters are called, in the order in which they are logged.
    parameter_names: ClassVar[tuple[str, ...]]
    published_seeds: ClassVar[tuple[int, ...]] = PUBLISHED_SEEDS
    # Where the trainings of this process are logged besides.
    loggers: ClassVar[tuple[AbstractLogger, ...]] = ()
    seeds: int

    @abc.abstractmethod
    def entries(self) -> tuple[AbstractEntry, ...]:
        """The trainings and searches, made anew at every call."""

    @abc.abstractmethod
    def details(self) -> Details:
        """The contents of `experiment.json` besides names and charts: metric, surface, claims."""

    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements without training, made anew at every call; by default none."""
        return ()

    def charts(self, traces: Mapping[str, tuple[Trace, ...]]) -> list[Chart]:
        """Further figures, from what was logged of each label; by default none."""
        return []

    def pictures(self, traces: Mapping[str, tuple[Trace, ...]]) -> list[Picture]:
        """Pictures of what was trained; by default none."""
        return []

    def measured_charts(self, measured: Mapping[str, np.ndarray]) -> list[Chart]:
        """Figures from what was measured: for each label an array of seeds by numbers."""
        return []

    def tables(
        self, traces: Mapping[str, tuple[Trace, ...]], measured: Mapping[str, np.ndarray]
    ) -> list[Table]:
        """Tables of what was logged and measured; by default none."""
        return []

    @property
    def options(self) -> dict[str, Any]:
        """The settings that runs in one directory must share: all but the number of seeds."""
        fields = dataclasses.asdict(self)  # pyright: ignore[reportArgumentType]
        return {name: value for name, value in fields.items() if name != "seeds"}

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The published seeds, and consecutive numbers after them if more are wanted."""
        further = range(_FIRST_FURTHER_SEED, _FIRST_FURTHER_SEED + self.seeds)
        return (*self.published_seeds, *further)[: self.seeds]

    def entry(self, label: str) -> AbstractEntry:
        """The entry of this label."""
        return next(entry for entry in self.entries() if entry.label == label)

    def measurement(self, label: str) -> Measurement:
        """The measurement of this label."""
        return next(found for found in self.measurements() if found.label == label)

    def describe(self) -> Experiment:
        """The contents of `experiment.json`, charts left out. Computes the loss surface."""
        return Experiment(
            format=FORMAT,
            name=self.name,
            title=self.title,
            source=self.source,
            parameter_names=list(self.parameter_names),
            **msgspec.structs.asdict(self.details()),
        )
