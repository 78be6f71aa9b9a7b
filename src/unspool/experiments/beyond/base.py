"""The best unbiased settings against `NRES`, published and tuned: what the comparisons share."""

import abc
import functools as ft
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ... import make_step
from ..._counts import check_fields
from ..._custom_types import Params, RandomKey
from ..._estimator import AbstractEstimator
from ..._problem import AbstractProblem
from ..._random import Purpose, stream
from ..._statistics.summarize import tail_length
from ...records import Details, Table
from ..base import AbstractExperiment, Entry, EvaluationPlan, Measurement, Optimizer
from ..losses import losses_at
from ..prose import prose
from .optimizers import Rated
from .side_by_side import ARRIVAL_COLUMNS, arrivals, ratios, step_cost, working_rates
from .variances import num_steps, variances

SEEDS = tuple(range(2000, 2024))
"""Seeds with which no setting was chosen: those were below 2000."""


class Training(NamedTuple):
    """One side of a comparison.

    - `estimator`: what makes the gradients.
    - `optimizer`, `learning_rate`: what makes updates of them.
    - `num_updates`, `every`: updates in all, and between two evaluations.
    """

    estimator: AbstractEstimator
    optimizer: Rated
    learning_rate: float
    num_updates: int
    every: int


@dataclass(frozen=True)
class AbstractBeyondExperiment(AbstractExperiment):
    """Trainings of one problem, which have arrived once the loss stays below a threshold.

    Beside them it measures the variances of estimators at some places, and which learning rates
    arrive: `factors` of those that are trained with.
    """

    source: ClassVar[str] = "measured for this library"
    published_seeds: ClassVar[tuple[int, ...]] = SEEDS
    metric: ClassVar[str]
    threshold: ClassVar[float]
    factors: ClassVar[tuple[float, ...]] = ()
    problem: ClassVar[AbstractProblem]

    seeds: int = len(SEEDS)

    def __post_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def trainings(self) -> dict[str, Training]:
        """What is trained, by label; the first is what others are measured against."""

    @abc.abstractmethod
    def estimators(self) -> dict[str, AbstractEstimator]:
        """Estimators of the same workers, windows and sigma, by label; as for `trainings`."""

    @abc.abstractmethod
    def places(self) -> dict[str, Params]:
        """Parameters where their variances are compared, by name."""

    @property
    @abc.abstractmethod
    def judge(self) -> tuple[AbstractProblem, int]:
        """What parameters are evaluated on, and on how many episodes of it."""

    def entries(self):
        return tuple(self._entry(label, each) for label, each in self.trainings().items())

    def _entry(self, label: str, training: Training) -> Entry:
        make, name, options = training.optimizer
        rate = training.learning_rate
        made = Optimizer(make(rate), name, {"learning_rate": rate} | options)
        plan = EvaluationPlan(self.judge[0], training.every, self.judge[1])
        return Entry(
            label,
            self.problem,
            training.estimator,
            made,
            training.num_updates,
            training.every,
            plan,
        )

    def details(self):
        return Details(
            description=prose(type(self).__module__),
            metric=self.metric,
            metric_scale="log",
            thresholds=[self.threshold],
            stays=True,
        )

    def measurements(self):
        variances = [
            Measurement(
                _variance_label(label, place),
                num_steps(self.problem, estimator),
                ft.partial(_measure_variances, self.problem, estimator, params),
            )
            for label, estimator in self.estimators().items()
            for place, params in self.places().items()
        ]
        rates = [
            Measurement(
                _rates_label(label),
                len(self.factors) * self._entry(label, training).training_steps,
                ft.partial(self._try_rates, training),
            )
            for label, training in self.trainings().items()
            if self.factors
        ]
        return (*variances, *rates)

    def _try_rates(
        self, training: Training, key: RandomKey, _: Mapping[str, Any]
    ) -> tuple[list[float], float]:
        """The tail of a training with each of some learning rates, with this seed."""
        params = self.problem.init_params(key=stream(key, Purpose.PARAMS))
        rates = training.learning_rate * jnp.array(self.factors)
        paths = _train(self.problem, training, params, rates, key)
        shape, problem = paths.shape, self.judge[0]
        points = np.asarray(paths, float).reshape(-1, shape[-1])
        usable = np.all(np.isfinite(points), axis=1)
        losses = np.full(len(points), math.inf)
        found = losses_at(problem, points[usable], like=params, key=key, num_episodes=self.judge[1])
        losses[usable] = np.concatenate([each for each, _ in found])
        tails = losses.reshape(shape[:2]).mean(axis=1)
        return tails.tolist(), float(tails[len(tails) // 2])

    def tables(self, traces, measured):
        texts = {"metric": self.metric, "threshold": self.threshold}
        return [
            Table(
                title="Side by side",
                columns=[*ARRIVAL_COLUMNS, *("learning rates",) * bool(self.factors)],
                rows=self._training_rows(traces, measured),
                note=prose(__name__, "trainings", **texts),
            ),
            Table(
                title="Variances at equal workers, window and sigma",
                columns=["method", *(f"{of}, {name}" for name in self.places() for of in _KINDS)],
                rows=self._variance_rows(measured),
                note=prose(__name__, "variances"),
            ),
        ]

    def _training_rows(self, traces, measured):
        rows, trainings = [], self.trainings()
        first, *_ = trainings
        for label, training in trainings.items():
            cost = 1.0
            if training.estimator.plan(self.problem.horizon).needs_derivatives:
                cost = step_cost(traces[label], traces[first])
            row = [label, *arrivals(traces[label], cost, self.threshold)]
            if self.factors:
                tails = measured.get(_rates_label(label))
                row.append(working_rates(tails, self.factors, self.threshold))
            rows.append(row)
        return rows

    def _variance_rows(self, measured):
        rows, labels = [], tuple(self.estimators())
        for label in labels:
            row = [label]
            for place in self.places():
                pair = (measured.get(_variance_label(each, place)) for each in (label, labels[0]))
                row += ratios(*pair)
            rows.append(row)
        return rows


_KINDS = "update", "episode"


def _variance_label(label: str, place: str) -> str:
    return f"variance of {label} at {place}"


def _rates_label(label: str) -> str:
    return f"rates of {label}"


def _measure_variances(problem, estimator, params, key, _):
    return np.asarray(variances(problem, estimator, params, key), float).tolist(), math.nan


@eqx.filter_jit
def _train(problem, training, params, rates, key):
    """The parameters at the evaluations of the tail, for each learning rate."""
    count = tail_length(training.num_updates // training.every)

    def one(rate):
        init, step = make_step(problem, training.estimator, training.optimizer.make(rate))
        go_on = lambda state, length: jax.lax.fori_loop(0, length, lambda _, s: step(s)[0], state)
        state = init(params, key=key)
        state = go_on(state, training.num_updates - (count - 1) * training.every)

        def look(state, _):
            return go_on(state, training.every), ravel_pytree(state.params)[0]

        return jax.lax.scan(look, state, length=count)[1]

    return jax.lax.map(one, rates)
