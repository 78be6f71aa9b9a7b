"""The tuning of one's own training run as an experiment, with figures of the results."""

import functools as ft
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from msgspec.structs import replace

from ..._config.describe_run import name_entries, name_logged
from ..._custom_types import Params
from ..._estimator import AbstractEstimator
from ..._logger import AbstractLogger
from ..._random import Purpose, seeded_key, stream
from ...problems.schedules import ModelTraining, learning_curve
from ...records import Chart, Details, Series
from ...records.files import as_array, without_place
from ..base import AbstractExperiment, Entry, EvaluationPlan, Trace, adam
from ..prose import prose


@dataclass(frozen=True)
class TuneExperiment(AbstractExperiment):
    """A training run of the user's, tuned with one estimator.

    - `training`: the training run.
    - `estimator`: the estimator.
    - `label`: the run's name on the page.
    - `num_updates`, `learning_rate`: of Adam.
    - `num_runs`: fresh training runs to compare with.
    - `loggers`: where tunings are logged besides.
    """

    name: ClassVar[str] = "tune"
    source: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()

    training: ModelTraining
    estimator: AbstractEstimator
    label: str
    num_updates: int
    learning_rate: float
    num_runs: int
    seeds: int
    loggers: tuple[AbstractLogger, ...] = ()

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"Tuning {without_place(self.label)}"

    @property
    def options(self) -> dict[str, Any]:
        # Of the problem and the estimator the run itself says what they were.
        fields = "num_updates", "learning_rate", "num_runs"
        return {name: getattr(self, name) for name in fields}

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(name_logged(self.training, self._like))

    @ft.cached_property
    def _like(self) -> Params:
        return self.training.init_params(key=seeded_key(0))

    def entries(self) -> tuple[Entry, ...]:
        every = max(1, self.num_updates // 50)
        plan = EvaluationPlan(self.training, 5 * every, num_episodes=10)
        label, optimizer = type(self.estimator).__name__, adam(self.learning_rate)
        return (
            Entry(label, self.training, self.estimator, optimizer, self.num_updates, every, plan),
        )

    def details(self):
        objective = type(self.training.objective).__name__
        return Details(
            description=prose(
                __name__,
                problem=without_place(self.label),
                horizon=self.training.horizon,
                objective=objective,
                num_runs=self.num_runs,
                seeds=self.seeds,
            ),
            metric=f"objective, {objective}",
            metric_scale="linear",
        )

    def charts(self, traces: Mapping[str, tuple[Trace, ...]]) -> list[Chart]:
        (found,) = traces.values()
        if not found:
            return []
        return [
            *self._value_charts(found),
            *self._schedule_charts(found[0]),
            *self._curve_charts(found[0]),
        ]

    def ends(self, trace: Trace) -> dict[str, Params]:
        """The parameters that tuning started from and those it came to."""
        unravel = ravel_pytree(self._like)[1]
        last = {"untuned": trace.params[0], "tuned": trace.params[-1]}
        return {name: unravel(jnp.asarray(x, jnp.result_type(float))) for name, x in last.items()}

    def _value_charts(self, traces: tuple[Trace, ...]) -> list[Chart]:
        """Every hyperparameter over the updates, a figure for each name."""
        problem, unravel = self.training, ravel_pytree(self._like)[1]
        natural = jax.jit(jax.vmap(lambda x: problem.natural_units(unravel(x))))
        per_seed = [natural(jnp.asarray(t.params, jnp.result_type(float))) for t in traces]
        updates = min((t.updates for t in traces), key=len)
        charts = []
        for name in per_seed[0]:
            tables = [
                np.concatenate([np.reshape(x, (len(x), -1)) for x in jax.tree.leaves(t[name])], 1)
                for t in per_seed
            ]
            series = []
            for index, label in enumerate(name_entries(self._like[name], name)):
                lines = np.stack([table[: len(updates), index] for table in tables])
                series += _line(label, updates, lines)
            charts.append(_chart(f"{name} over the updates", "updates", name, series))
        return charts

    def _schedule_charts(self, trace: Trace) -> list[Chart]:
        """Every hyperparameter that changes within a run, step by step, before and after."""
        problem, steps = self.training, np.arange(self.training.horizon)
        at = jax.jit(lambda params: jax.vmap(lambda t: problem.hyper(params, t))(steps))
        tables = {k: tuple(map(dict, at(p))) for k, p in self.ends(trace).items()}
        charts = []
        for name in problem.space | problem.model.space:
            values = {k: np.asarray((own | model)[name]) for k, (own, model) in tables.items()}
            if all(np.all(table == table[0]) for table in values.values()):
                continue
            series = [
                Series.line(label, steps, column)
                for label, table in values.items()
                for column in np.reshape(table, (len(steps), -1)).T
            ]
            charts.append(_chart(f"{name} within a training run", "step", name, series))
        return charts

    def _curve_charts(self, trace: Trace) -> list[Chart]:
        """Training runs from fresh weights, before and after."""
        curves = {name: self.fresh_runs(p) for name, p in self.ends(trace).items()}
        data = "held out" if self.training.data.valid is not None else "trained on"
        charts = []
        for measure in ("loss", "accuracy"):
            series = []
            for label, runs in curves.items():
                values = getattr(runs, measure)
                if not np.all(np.isnan(values)):
                    series += _line(label, runs.step, values)
            if series:
                title = f"Fresh training runs: {measure} of examples {data}"
                note = f"Mean of {self.num_runs} runs, with the range of them all."
                charts.append(replace(_chart(title, "step", measure, series), note=note))
        return charts

    def fresh_runs(self, params: Params) -> "Runs":
        """Training runs with weights and batches that tuning has not seen."""
        root = stream(seeded_key(0), Purpose.EVALUATION)
        keys = jax.random.split(root, self.num_runs)
        found = [learning_curve(self.training, params, key=key) for key in keys]
        stacked = [np.stack([np.asarray(curve[i]) for curve in found]) for i in (1, 2)]
        return Runs(np.asarray(found[0].step), *stacked)


class Runs(NamedTuple):
    """Training runs beside one another: the steps, and runs x points of losses and accuracies."""

    step: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def _line(label: str, x: np.ndarray, runs: np.ndarray) -> list[Series]:
    """The mean of several runs, and the band of their range if there are more than one."""
    series = [Series.line(label, x, runs.mean(axis=0))]
    if len(runs) > 1:
        series.append(Series.band(label, x, runs.min(axis=0), runs.max(axis=0)))
    return series


def _chart(title: str, x_label: str, y_label: str, series: list[Series]) -> Chart:
    """A figure, on a logarithmic scale if what it shows is positive and spans a factor of ten."""
    values = np.concatenate([as_array(s.y) for s in series if s.style == "line"])
    values = values[np.isfinite(values)]
    wide = len(values) > 0 and 0 < values.min() and values.max() > 10 * values.min()
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        y_scale="log" if wide else "linear",
        series=series,
    )
