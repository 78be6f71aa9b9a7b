"""Searches next to trainings, and the experiment that compares them."""

import dataclasses
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from unspool._random import Purpose, numbered, stream
from unspool._run import Run
from unspool.cli.__main__ import main
from unspool.experiments import (
    AbstractExperiment,
    EvaluationPlan,
    ManyHyperparametersExperiment,
    reproduce,
)
from unspool.experiments.base import Entry, Trace, sgd
from unspool.experiments.published import classifier, incumbent
from unspool.experiments.published.search import active_units
from unspool.experiments.published.search.search import Search
from unspool.experiments.published.search.start_in_box import StartInBox
from unspool.experiments.published.search.strategies import TPE, Hyperband, RandomSearch
from unspool.problems.schedules import (
    Constant,
    Data,
    Log,
    Logit,
    Model,
    ModelTraining,
    PerTensor,
    ValidLoss,
)
from unspool.records import Details, read_studies

TINY = ManyHyperparametersExperiment(seeds=1, num_updates=10, width=4, batch_size=2, horizon=20)
STRATEGIES = {"random": RandomSearch(), "tpe": TPE(), "hyperband": Hyperband()}


def diverging(bounds=(0.1, 10.0)) -> StartInBox:
    """Steps down a parabola, which leave it in float32 if the rate is above 2."""
    model = Model(
        lambda key: {"x": 1 + jax.random.uniform(key), "y": jnp.ones(())},
        lambda weights, batch: (weights["x"] ** 2 + 0.1 * jnp.mean(batch) * weights["y"]) / 2,
    )
    numbers = jnp.linspace(0.0, 1.0, 8)
    rate = PerTensor(Constant(start=1.0, transform=Log(*bounds)))
    return StartInBox(
        ModelTraining(
            model=model,
            data=Data(numbers, numbers, 2),
            make_optimizer=optax.sgd,
            space={"learning_rate": rate},
            horizon=90,
            objective=ValidLoss(),
        )
    )


@dataclass(frozen=True)
class Searching(AbstractExperiment):
    """Searches for the two rates of a parabola, and a training."""

    name: ClassVar[str] = "searching"
    title: ClassVar[str] = "Searching"
    source: ClassVar[str] = "nobody"
    references: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ("log rate x", "log rate y")

    seeds: int = 1
    num_steps: int = 1800

    def entries(self):
        problem = diverging()
        plan = EvaluationPlan(problem, 1, num_episodes=2)
        calm = diverging((0.1, 1.0))
        training = Entry("NRES", calm, unspool.NRES(2, 30, 0.1), sgd(0.01), 4, 1, plan)
        search = lambda label: Search(label, problem, STRATEGIES[label], self.num_steps, 4, plan)
        return (training, *map(search, STRATEGIES))

    def details(self):
        return Details(metric="loss")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_seconds(path: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines(path)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Searches that ran undisturbed, and what was told on the way."""
    directory, told = tmp_path_factory.mktemp("searched") / "here", []
    reproduce(Searching(), directory, num_processes=1, on_progress=told.append)
    return directory, told


def test_twenty_nine_numbers_in_one_box():
    entries = TINY.entries()
    problem = entries[0].problem
    assert isinstance(problem, StartInBox)
    assert all(entry.problem is problem for entry in entries)
    params = problem.init_params(key=jax.random.key(1))
    values = problem.training.natural_units(params)
    assert {name: leaf.shape for name, leaf in values.items()} == {
        "active": (5,), "learning_rate": (12,), "momentum": (12,),
    }  # fmt: skip
    assert len(TINY.parameter_names) == 29 == ravel_pytree(params)[0].size
    assert TINY.parameter_names[4:7] == (
        "logit active 5",
        "log rate biases 1",
        "log rate weights 1",
    )
    assert problem.training.tensors[:3] == ("layer0.bias", "layer0.matrix", "layer1.bias")
    low, high = (problem.training.natural_units(end) for end in problem.box)
    for name, ends in {
        "active": (0.2, 0.98), "learning_rate": (1e-4, 0.1), "momentum": (0.01, 0.99),
    }.items():  # fmt: skip
        np.testing.assert_allclose(low[name], ends[0], rtol=1e-5)
        np.testing.assert_allclose(high[name], ends[1], rtol=1e-5)


def test_starts_are_uniform_in_the_box():
    problem = diverging((1e-2, 1e2))
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = jax.vmap(lambda key: problem.init_params(key=key))(keys)["learning_rate"]
    places = (np.asarray(drawn, float) / np.log(100) + 1) / 2
    assert places.min() > 0 and places.max() < 1
    # Four standard errors of the mean and of the second moment of uniform numbers.
    np.testing.assert_allclose(places.mean(axis=0), 1 / 2, atol=4 * (1 / 12 / 2000) ** 0.5)
    np.testing.assert_allclose((places**2).mean(axis=0), 1 / 3, atol=4 * (4 / 45 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Constant(0.1), "learning_rate must have a transform with low and high"),
        (unspool.problems.schedules.Cosine(0.1, 0.01), "learning_rate must be a Constant"),
    ],
)
def test_what_has_no_box_is_refused(schedule, message):
    training = diverging().training
    fields = {field.name: getattr(training, field.name) for field in dataclasses.fields(training)}
    with pytest.raises(ValueError, match=message):
        StartInBox(ModelTraining(**fields | {"space": {"learning_rate": schedule}}))


def test_the_first_units_are_active():
    transform = Logit(0.2, 0.98)
    for fraction, count in {0.2: 2, 0.29: 2, 0.31: 3, 0.5: 5, 0.98: 9}.items():
        value = transform.value(transform.coordinate("fraction", fraction) + 1e-4)
        assert active_units.active_units(value, 10).tolist() == [unit < count for unit in range(10)]


def test_inactive_units_make_no_difference(key):
    weights = classifier.init_network((3, 4, 4, 2), key)
    images = jax.random.normal(key, (5, 3))
    active = jnp.array([0.5, 0.8])
    found = active_units.score(weights, images, active)
    for layer, first in (("layer0", 2), ("layer1", 3)):
        matrix = weights[layer]["matrix"].at[:, first:].set(7.0)
        changed = weights | {layer: weights[layer] | {"matrix": matrix}}
        np.testing.assert_array_equal(active_units.score(changed, images, active), found)
        matrix = weights[layer]["matrix"].at[:, first - 1].add(7.0)
        changed = weights | {layer: weights[layer] | {"matrix": matrix}}
        assert not np.array_equal(active_units.score(changed, images, active), found)
    batch = images, jnp.zeros(5, int)
    everything = active_units.cross_entropy(weights, batch, jnp.ones(2))
    of_all = float(classifier.cross_entropy(weights, batch))
    assert float(everything) == pytest.approx(of_all, rel=1e-6)


@pytest.mark.parametrize("experiment", [TINY, ManyHyperparametersExperiment()])
def test_all_methods_have_the_same_budget(experiment):
    for entry in experiment.entries():
        cost = entry.training_steps
        if isinstance(entry, Entry):
            assert entry.num_evaluations <= 11
            cost += 11 * entry.evaluation_steps
        assert cost <= experiment.num_steps
        if experiment is not TINY:
            assert cost > 0.99 * experiment.num_steps


def test_the_published_size():
    paper = ManyHyperparametersExperiment.at_paper_size()
    assert (paper.num_updates, paper.width, paper.horizon) == (50_000, 100, 1000)
    assert (paper.images, paper.learning_rate) == ("fashion-mnist", 0.01)


def test_searches_write_runs_that_the_report_reads(searched):
    directory, told = searched
    (study,) = read_studies([directory])
    assert study.labels == ("NRES", "hyperband", "random", "tpe")
    assert {run.status.state for run in study.runs} == {"finished"}
    runs = {run.config.label: run for run in study.runs}
    starts = {tuple(run.metrics.params[0].tolist()) for run in study.runs if run != runs["NRES"]}
    assert len(starts) == 1
    tpe = runs["tpe"].config
    assert tpe.estimator.name == "TPE (Optuna)"
    assert tpe.estimator.options == {"num_steps": 1800}
    assert tpe.estimator.estimand == "no gradient"
    assert tpe.num_updates == 20
    assert "optuna" in tpe.environment
    for run in study.runs:
        np.testing.assert_array_equal(run.evaluation.update, run.metrics.update)
        # Only the start, where no trial is whole yet, may be one that diverges.
        assert np.all(np.isfinite(run.evaluation.loss[1:]))
    for label in ("random", "tpe"):
        assert runs[label].metrics.update.tolist() == [0, 5, 10, 15, 20]
        assert runs[label].metrics.steps.tolist() == [0, 450, 900, 1350, 1800]
    assert told[-1].done == told[-1].total


def test_the_incumbent_is_the_best_whole_trial(searched, tmp_path):
    """Every trial is run again, from its parameters and its key alone."""
    problem = diverging()
    key = jax.random.key(101)
    params = problem.init_params(key=stream(key, Purpose.PARAMS))
    _, trials = watch(RandomSearch(), params, key, tmp_path)
    found = []
    for index, (point, outcome) in enumerate(trials):
        episode = stream(key, Purpose.DATA, index)
        found.append(loss_of(problem, ravel_pytree(params)[1](jnp.asarray(point)), episode))
        assert outcome.steps == 90 or not np.isfinite(outcome.loss)
    finite = np.isfinite(found)
    assert 0 < finite.sum() < 20
    found = np.where(finite, found, np.nan)
    # Losses that grow exponentially magnify rounding as they do.
    losses = [outcome.loss for _, outcome in trials]
    np.testing.assert_allclose(losses, found, rtol=1e-3, atol=1e-6)
    records = lines(searched[0] / "random-101" / "metrics.jsonl")
    assert [line["dropped"] for line in records] == [
        0, *(int(np.sum(~finite[start : start + 5])) for start in (0, 5, 10, 15)),
    ]  # fmt: skip
    best = int(np.nanargmin(found))
    assert records[-1]["params"] == pytest.approx(trials[best][0].tolist(), rel=1e-6)
    assert records[-1]["loss"] == pytest.approx(found[best], rel=1e-3)
    for line, end in zip(records[1:], (5, 10, 15, 20), strict=True):
        assert line["loss"] == pytest.approx(np.nanmin(found[:end]), rel=1e-3)


def watch(strategy, params, key, directory):
    """A search, and the point and the outcome of each of its trials."""
    trials, found = [], Search._run_trial

    class Watched(Search):
        def _run_trial(self, trial, params, key):
            outcome = found(self, trial, params, key)
            trials.append((np.array(ravel_pytree(params)[0]), outcome))
            return outcome

    problem = diverging()
    plan = EvaluationPlan(problem, 1)
    search = Watched("watched", problem, strategy, 1800, 4, plan)
    return list(search.run(Run.create(directory, {}), key, params)), trials


step = eqx.filter_jit(StartInBox.step)


def loss_of(problem, params, key) -> float:
    """The mean loss of an episode, one step after the other."""
    state = problem.init_state(params, key=stream(key, Purpose.START))
    steps_key, total = stream(key, Purpose.STEP), 0.0
    for t in range(problem.horizon):
        state, loss = step(problem, params, state, jnp.asarray(t), key=numbered(steps_key, t))
        total += float(loss)
    return total / problem.horizon


def test_steps_of_trials_given_up_count_as_far_as_they_ran(key, tmp_path):
    told, trials = watch(Hyperband(), diverging().init_params(key=key), key, tmp_path)
    steps = [outcome.steps for _, outcome in trials]
    assert set(steps) == {10, 30, 90}
    finite = [outcome for _, outcome in trials if np.isfinite(outcome.loss)]
    assert len(finite) < len(trials)
    assert all(outcome.completed == (outcome.steps == 90) for outcome in finite)
    assert [now for now, _ in told] == list(itertools.accumulate(steps))
    assert 1800 - 90 < told[-1][0] <= 1800


@dataclass(frozen=True)
class OnlyHyperband(Searching):
    """As above, but for one label."""

    def entries(self):
        return tuple(entry for entry in super().entries() if entry.label == "hyperband")


def test_a_search_is_deterministic_and_begins_anew(searched, tmp_path):
    class Interrupt(BaseException):
        pass

    def interrupt(now):
        if now.done > 900:
            raise Interrupt

    with pytest.raises(Interrupt):
        reproduce(OnlyHyperband(), tmp_path, num_processes=1, on_progress=interrupt)
    reproduce(OnlyHyperband(), tmp_path, num_processes=1)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        expected = without_seconds(searched[0] / "hyperband-101" / name)
        assert without_seconds(tmp_path / "hyperband-101" / name) == expected


def test_a_search_that_cannot_be_is_refused():
    problem = diverging()
    with pytest.raises(ValueError, match="nearest legal value is 90"):
        Search("too short", problem, TPE(), 89, 4, EvaluationPlan(problem, 1))
    with pytest.raises(ValueError, match="every must be 1"):
        Search("too rare", problem, TPE(), 90, 4, EvaluationPlan(problem, 2))


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(sys, "stdout", sys.stderr)
    assert main(["reproduce", "many-hyperparameters", "--num-processes", "1"]) == 2
    said = capsys.readouterr().err.strip()
    assert said == (
        "unspool: this needs optuna, which is not there: pip install 'unspool[experiments]'"
    )
    assert not list(tmp_path.iterdir())


def trace(seed: int, losses: list[float]) -> Trace:
    updates, params = np.array([0, 10, 20]), np.zeros((3, 1))
    return Trace(seed, updates, params, 5 + 10 * updates, updates, updates, np.array(losses))


def test_what_was_spent_has_judgements_in():
    traces = {
        "PES": (trace(1, [2.0, 1.0, 0.5]), trace(2, [2.0, 1.0, 0.7])),
        "TES": (trace(2, [2.0, 1.5, 1.5]), trace(1, [2.0, 1.5, 1.5])),
    }
    assert incumbent.steps_spent(traces["PES"][0], 7).tolist() == [12, 119, 226]
    line, band, other, _ = incumbent.incumbent_curves(traces, {"PES": 7, "TES": 0})
    assert (line.label, line.style, band.style) == ("PES", "line", "band")
    assert line.x == band.x == [12, 119, 226]
    assert line.y == pytest.approx([2.0, 1.0, 0.6])
    # The t-interval, 0.6 +- 12.706 * 0.1 with one degree of freedom, would reach below zero.
    assert (band.low[-1], band.high[-1]) == pytest.approx((0.5, 0.7))
    assert other.x == [5, 105, 205]
    assert incumbent.format_final_losses(traces).startswith("PES 0.6")
    found = incumbent.format_differences(traces, "TES", ["PES"])
    assert found.endswith("above PES, which may be chance")
    sure = {label: tuple(trace(t.seed, t.losses + 1e-3 * t.seed) for t in found)
            for label, found in traces.items()}  # fmt: skip
    sure["PES"] = (trace(1, [2.0, 1.0, 0.5]), trace(2, [2.0, 1.0, 0.5]))
    found = incumbent.format_differences(sure, "PES", ["TES"])
    assert found == "PES ends 1.0015 (0.9951 to 1.0079) below TES"
    found = incumbent.format_differences(sure, "TES", ["PES"])
    assert found == "TES ends 1.0015 (0.9951 to 1.0079) above PES"


def test_the_chart_charges_trainings_and_says_who_wins():
    traces = {
        "PES": (trace(1, [2.0, 1.0, 0.5]), trace(2, [2.0, 1.0, 0.5])),
        "random search": (trace(1, [2.0, 1.5, 1.5]), trace(2, [2.0, 1.5, 1.6])),
        "TPE": (),
    }
    (chart,) = TINY.charts(traces)
    assert [series.label for series in chart.series] == ["PES"] * 2 + ["random search"] * 2
    assert chart.series[0].x == [105, 305, 505]
    assert chart.series[2].x == [5, 105, 205]
    assert "PES ends 1.05 (0.41 to 1.69) below random search" in chart.note


@dataclass(frozen=True)
class OnlyPES(ManyHyperparametersExperiment):
    """As the published one, but for one label."""

    def entries(self):
        return tuple(entry for entry in super().entries() if entry.label == "PES")


@pytest.mark.slow
def test_a_training_of_the_experiment(tmp_path):
    reproduce(OnlyPES(**dataclasses.asdict(TINY)), tmp_path, num_processes=1)
    (study,) = read_studies([tmp_path])
    (run,) = study.runs
    assert (run.config.num_params, tuple(run.config.parameter_names)) == (29, TINY.parameter_names)
    assert np.all(np.isfinite(run.evaluation.loss)) and len(run.evaluation.loss) == 11
    assert study.experiment.charts[0].series[0].x[-1] == TINY.num_steps
