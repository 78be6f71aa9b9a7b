"""Fitting a differential equation to a series: a century of lynx and hares, or one's own."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ... import BPTT, NRES, RTRL
from ..._config.load_object import load_object
from ..._counts import check_fields
from ..._random import seeded_key
from ...problems import SeriesFit, lotka_volterra
from ...problems._series import read_series
from ...records import Chart, Claim, Details, Series
from ..base import AbstractExperiment, Entry, EvaluationPlan, adam
from ..prose import prose
from .as_published import as_published

_LOG_RATES = ("log growth", "log predation", "log death", "log conversion")
_WINDOW = 100


class Decay(eqx.Module):
    """A sigma that falls exponentially from `start` to `end` within `num_updates` updates."""

    start: float
    end: float
    num_updates: int

    def __call__(self, update):
        return self.start * (self.end / self.start) ** jnp.minimum(update / self.num_updates, 1.0)


@dataclass(frozen=True)
class LynxHareExperiment(AbstractExperiment):
    """Fitting a differential equation to a century-old record, or to a CSV file of one's own.

    The loss is the mean squared difference of logarithms. Curves and data are drawn, with the
    parameters of the first seed.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of every method.
    - `data`: a CSV file with a header, the time in the first column and positive values in the
      others; by default the lynx and hares.
    - `vector_field`: `FILE.py:FUNCTION`, a function of the rates and the state in JAX that
      returns the time derivative of the state; by default Lotka-Volterra, for two columns,
      predators first.
    - `init_rates`: the positive rates to start from; needed with a vector field.
    """

    name: ClassVar[str] = "lynx-hare"
    title: ClassVar[str] = "Lynx and hares, a differential equation fitted to a series"
    source: ClassVar[str] = "Hewitt (1921), as tabulated by Howard (2009)"
    references: ClassVar[tuple[str, ...]] = ()

    seeds: int = 3
    num_updates: int = 2000
    data: str | None = None
    vector_field: str | None = None
    init_rates: tuple[float, ...] | None = None

    def __post_init__(self):
        check_fields(self)
        self._problem()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        num_rates = len(self._problem().init_rates)
        known = self.vector_field is None
        rates = _LOG_RATES if known else tuple(f"log rate {i + 1}" for i in range(num_rates))
        return (*rates, *(f"log first {name}" for name in self._columns()))

    def _problem(self) -> SeriesFit:
        if self.vector_field is not None and self.init_rates is None:
            raise ValueError("vector_field needs init_rates: one positive number for each rate")
        field = lotka_volterra if self.vector_field is None else _load_function(self.vector_field)
        rates = self.init_rates or (1.0, 0.05, 1.0, 0.05)
        if self.data is not None:
            return SeriesFit.from_csv(self.data, field, rates)
        return SeriesFit(vector_field=field, init_rates=rates)

    def _columns(self) -> list[str]:
        if self.data is None:
            return ["lynx", "hares"]
        return read_series(self.data).names

    def entries(self) -> tuple[Entry, ...]:
        sigma = Decay(0.4, 0.03, self.num_updates)
        return (
            self._entry("BPTT", BPTT(1)),
            self._entry("RTRL", RTRL(4, _WINDOW)),
            self._entry("NRES", NRES(50, _WINDOW, sigma=sigma)),
        )

    def _entry(self, label, estimator) -> Entry:
        problem, n = self._problem(), self.num_updates
        every = max(1, n // 100)
        optimizer = adam(0.02, tenth_after=n)
        return Entry(
            label,
            problem,
            as_published(estimator),
            optimizer,
            n,
            every,
            EvaluationPlan(problem, every),
        )

    def details(self):
        is_default = self.data is None and self.vector_field is None
        return Details(
            description=prose(__name__),
            metric="mean squared error of the logarithms",
            metric_scale="log",
            thresholds=[0.4, 0.2, 0.1],
            claims=_claims() if is_default else [],
        )

    def charts(self, traces):
        problem = self._problem()
        like = problem.init_params(key=seeded_key(0))
        unravel = ravel_pytree(like)[1]
        curves = {
            label: _curve(
                problem, unravel(jnp.asarray(found[0].params[-1], jnp.result_type(float)))
            )
            for label, found in traces.items()
            if found
        }
        return [self._chart(problem, curves, i, name) for i, name in enumerate(self._columns())]

    def _chart(self, problem: SeriesFit, curves, index: int, name: str) -> Chart:
        series = [Series.points("data", problem.times, problem.observations[:, index])]
        for label, (times, values) in curves.items():
            series.append(Series.line(label, times, values[:, index]))
        return Chart(
            title=f"Fit and data: {name}",
            x_label="time",
            y_label=name,
            series=series,
        )


def _load_function(spec: str) -> Any:
    found = load_object(spec)
    if not callable(found):
        raise ValueError(f"vector_field must name a function, got {spec!r}")
    return found


def _curve(problem: SeriesFit, params) -> tuple[np.ndarray, np.ndarray]:
    """The times of the solver's steps, the first observation's included, and the solution."""
    key = seeded_key(0)
    start = problem.init_state(params, key=key)

    def step(state, t):
        state, _ = problem.step(params, state, t, key=key)
        return state, state

    _, states = jax.lax.scan(step, start, jnp.arange(problem.horizon))
    knots = np.arange(len(problem.times)) * problem.steps_per_interval
    times = np.interp(np.arange(problem.horizon + 1), knots, problem.times)
    return times, np.exp(np.concatenate([np.asarray(start)[None], np.asarray(states)]))


def _claims():
    """The means and two standard deviations of a Bayesian fit of the same record."""
    note = "Bayesian fit of Carpenter (2018), two standard deviations"
    ranges = ((0.43, 0.67), (0.020, 0.036), (0.62, 0.98), (0.016, 0.032))
    return [
        Claim("NRES", "final", 0.047, 0.052, "the loss at the mean of the Bayesian fit is 0.050"),
        *(
            Claim("NRES", f"parameter:{i}", math.log(low), math.log(high), note)
            for i, (low, high) in enumerate(ranges)
        ),
    ]
