"""A search: parameters tried one after the other, from start to end, the best of them kept."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...._counts import check_fields
from ...._custom_types import IntScalar, Params, RandomKey, Scalar, State
from ...._describe import describe, environment
from ...._problem import AbstractProblem
from ...._random import Purpose, numbered, stream
from ...._run import Run
from ....records import MetricsLine
from ....records.run import EVALUATION_FILE, METRICS_FILE
from ...base import AbstractEntry, EvaluationPlan
from .start_in_box import StartInBox
from .strategies import AbstractStrategy

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


class Outcome(NamedTuple):
    """The outcome of a trial.

    - `steps`: problem steps that it ran.
    - `loss`: their mean loss; NaN for a run that diverged.
    - `completed`: whether it ran to its end.
    """

    steps: int
    loss: float
    completed: bool


class _SearchState(NamedTuple):
    """The incumbent of a search, which is its start until a trial completes, and what was spent."""

    params: np.ndarray
    loss: float = math.nan
    trials: int = 0
    steps: int = 0
    dropped: int = 0

    def after(self, point: np.ndarray, outcome: Outcome) -> "_SearchState":
        better = outcome.completed and not outcome.loss >= self.loss
        return _SearchState(
            point if better else self.params,
            outcome.loss if better else self.loss,
            self.trials + 1,
            self.steps + outcome.steps,
            self.dropped + (not math.isfinite(outcome.loss)),
        )


@dataclass(frozen=True)
class Search(AbstractEntry):
    """A search for parameters by trials, as one curve of an experiment.

    A trial is an episode with an initialization and batches of its own, and its loss the mean over
    the episode. The first trial is where trainings start from. The incumbent is the
    completed trial of least loss. One that diverges never becomes it, and is reported to the
    strategy as one that was given up.

    - `label`: its name in tables and figures.
    - `problem`: what is searched, with its box.
    - `strategy`: how trials are chosen.
    - `num_steps`: problem steps of all trials together; the search ends when a further trial might
      exceed them.
    - `num_records`: records, and evaluations, at equal distances; one more at the start.
    - `evaluation`: how incumbents are evaluated; at every record.

    A search that is interrupted begins anew.
    """

    label: str
    problem: StartInBox
    strategy: AbstractStrategy
    num_steps: int
    num_records: int
    evaluation: EvaluationPlan

    def __post_init__(self):
        check_fields(self)
        if self.num_steps < self.problem.horizon:
            raise ValueError(
                f"num_steps must be enough for a trial, got {self.num_steps}; the nearest legal "
                f"value is {self.problem.horizon}"
            )
        if self.evaluation.every != 1:
            raise ValueError(
                "evaluation.every must be 1, for a search is judged at every record, "
                f"got {self.evaluation.every}"
            )

    @property
    def training_steps(self) -> int:
        return self.num_steps

    @property
    def num_evaluations(self) -> int:
        return self.num_records + 1

    @property
    def packages(self) -> tuple[str, ...]:
        return ("optuna",)

    def settings(self) -> dict[str, Any]:
        import optuna

        strategy = describe(self.strategy)
        options = strategy["options"] | {"num_steps": self.num_steps}
        return {
            "estimator": {
                "name": f"{strategy['name']} (Optuna)",
                "options": options,
                "estimand": "no gradient",
            },
            "optimizer": {"name": "none", "options": {}},
            # As many as can run to their end; there are more if some are given up.
            "num_updates": self.num_steps // self.problem.horizon,
            "environment": environment() | {"optuna": optuna.__version__},
        }

    def run(self, run: Run, key: RandomKey, params: Params) -> Iterator[tuple[int, float]]:
        for name in (METRICS_FILE, EVALUATION_FILE):
            (run.directory / name).unlink(missing_ok=True)
        run.finish("running")
        horizon = self.problem.horizon
        low, high = (np.asarray(ravel_pytree(end)[0], float) for end in self.problem.box)
        start, unravel = ravel_pytree(params)
        study = self.strategy.make_study(int(jax.random.bits(stream(key, Purpose.NOISE))), horizon)
        study.enqueue_trial(_by_name(np.clip(np.asarray(start, float), low, high)))
        space = _space(low, high)
        # Before the clock starts; nothing is run yet.
        _advance(self.problem, params, _begin(self.problem, params, key), key, *_range(0, 0))
        began, logged, state = time.perf_counter(), 0, _SearchState(np.asarray(start))
        run.append(_line(state, 0.0))
        while state.steps + horizon <= self.num_steps:
            trial = study.ask(space)
            point = np.array([trial.params[name] for name in space])
            tried = unravel(jnp.asarray(point, start.dtype))
            trial_key = stream(key, Purpose.DATA, state.trials)
            outcome = self._run_trial(trial, tried, trial_key)
            _tell(study, trial, outcome)
            state = state.after(point, outcome)
            is_last = state.steps + horizon > self.num_steps
            due = state.steps * self.num_records // self.num_steps
            if is_last or due > logged:
                run.append(_line(state, time.perf_counter() - began))
                state, logged = state._replace(dropped=0), due
            yield state.steps, state.loss
        run.finish("finished")

    def _run_trial(self, trial: "optuna.Trial", params: Params, key: RandomKey) -> Outcome:
        state, total, done = _begin(self.problem, params, key), 0.0, 0
        for stop in self.strategy.stops(self.problem.horizon):
            state, more = _advance(self.problem, params, state, key, *_range(done, stop))
            total, done = total + float(more), stop
            if not math.isfinite(total):
                return Outcome(done, math.nan, False)
            if stop < self.problem.horizon:
                trial.report(total / stop, stop)
                if trial.should_prune():
                    return Outcome(done, total / done, False)
        return Outcome(done, total / done, True)


@eqx.filter_jit
def _begin(problem: AbstractProblem, params: Params, key: RandomKey) -> State:
    return problem.init_state(params, key=stream(key, Purpose.START))


@eqx.filter_jit
def _advance(
    problem: AbstractProblem,
    params: Params,
    state: State,
    key: RandomKey,
    start: IntScalar,
    stop: IntScalar,
) -> tuple[State, Scalar]:
    """The state at step `stop`, and the sum of the losses since `start`: one program for all."""
    steps_key = stream(key, Purpose.STEP)

    def step(t, before):
        state, total = before
        state, loss = problem.step(params, state, t, key=numbered(steps_key, t))
        return state, total + loss

    return jax.lax.fori_loop(start, stop, step, (state, jnp.zeros(())))


def _range(start: int, stop: int) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(start, int), jnp.asarray(stop, int)


def _by_name(point: np.ndarray) -> dict[str, float]:
    return {str(index): value for index, value in enumerate(point.tolist())}


def _space(low: np.ndarray, high: np.ndarray) -> "dict[str, BaseDistribution]":
    from optuna.distributions import FloatDistribution

    highs = _by_name(high)
    return {name: FloatDistribution(value, highs[name]) for name, value in _by_name(low).items()}


def _tell(study: "optuna.Study", trial: "optuna.Trial", outcome: Outcome) -> None:
    import optuna

    if outcome.completed:
        study.tell(trial, outcome.loss)
    else:
        # Unlike one that failed, a trial that was given up counts as a bad one.
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def _line(state: _SearchState, seconds: float) -> MetricsLine:
    """A line of `metrics.jsonl`, of the form that trainings write."""
    return MetricsLine(
        update=state.trials,
        seconds=seconds,
        steps=state.steps,
        useful_steps=state.steps,
        sequential_steps=state.steps,
        loss=state.loss,
        dropped=state.dropped,
        result="dropped_workers" if state.dropped else "successful",
        params=state.params.tolist(),
    )
