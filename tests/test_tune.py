"""`unspool tune`: from a file of the user's to a page, a schedule, and a curve one can trust."""

import json
import runpy

import jax
import numpy as np
import optax
import pytest

import unspool
from unspool import export
from unspool.cli.__main__ import main
from unspool.experiments.own import tune
from unspool.experiments.own.tune_experiment import TuneExperiment
from unspool.problems.schedules import Log, learning_curve
from unspool.records import read_studies

MINE = """
import jax
import jax.numpy as jnp
import numpy as np
import optax
from unspool.problems import Cubic
from unspool.problems.schedules import *

draw = np.random.default_rng(0)
inputs = draw.normal(size=(60, 3))
labels = (inputs @ np.array([1.0, -2.0, 0.5]) > 0) + 0.0


def loss(weights, batch):
    inputs, labels = batch
    return jnp.mean(optax.sigmoid_binary_cross_entropy(inputs @ weights, labels))


def accuracy(weights, batch):
    inputs, labels = batch
    return jnp.mean((inputs @ weights > 0) == labels, dtype=float)


problem = ModelTraining(
    model=Model(lambda key: jax.random.normal(key, (3,)), loss, accuracy),
    data=Data((inputs[:40], labels[:40]), (inputs[40:], labels[40:]), batch_size=8),
    make_optimizer=optax.sgd,
    space={"learning_rate": Linear(0.05, 0.01), "momentum": Constant(0.5, Logit())},
    horizon=20,
    objective=ValidLoss(),
)
other = Cubic()
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


TUNE = ["tune", "mine.py:problem", "--num-updates", "30", "--learning-rate", "0.2",
        "--num-workers", "5", "--num-runs", "2"]  # fmt: skip


def test_tuning_ends_with_a_page_a_schedule_and_curves(mine, capsys):
    assert main(TUNE) == 0
    said = capsys.readouterr().out
    for name in ("learning_rate.first", "learning_rate.last", "momentum", "objective"):
        assert name in said
    directory = mine / "runs" / "tune-problem"
    (study,) = read_studies([directory])
    charts = {chart.title: chart for chart in study.experiment.charts}
    assert list(charts) == [
        "learning_rate over the updates",
        "momentum over the updates",
        "learning_rate within a training run",
        "Fresh training runs: loss of examples held out",
        "Fresh training runs: accuracy of examples held out",
    ]
    first, last = charts["learning_rate over the updates"].series
    assert (first.label, last.label) == ("learning_rate.first", "learning_rate.last")
    assert first.y[0] == pytest.approx(0.05) and last.y[0] == pytest.approx(0.01)
    (page,) = directory.glob("report.html")
    assert "Fresh training runs" in page.read_text()

    # The file says where the figure ends, and makes a better optimizer than the start was.
    schedules = export.load_schedules(directory / "tuned.json")
    tuned = charts["learning_rate within a training run"].series[1]
    assert tuned.label == "tuned"
    np.testing.assert_allclose([schedules["learning_rate"](t) for t in range(20)], tuned.y, 1e-6)
    assert first.y[-1] == pytest.approx(float(schedules["learning_rate"](0)), rel=1e-5)
    before, after = (
        next(s for s in charts["Fresh training runs: loss of examples held out"].series
             if s.label == label and s.style == "line").y
        for label in ("untuned", "tuned")
    )  # fmt: skip
    assert after[-1] < 0.8 * before[-1]

    # What is printed are the two ends of what is written.
    lines = (line.split() for line in said.splitlines())
    printed = {line[0]: line[1:] for line in lines if len(line) == 3}
    evaluations = (directory / "NRES-101" / "evaluation.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in evaluations]
    assert len(losses) > 2
    ends = {"learning_rate.first": first.y, "learning_rate.last": last.y, "objective": losses}
    for name, values in ends.items():
        assert printed[name] == [f"{values[0]:.5g}", f"{values[-1]:.5g}"]
    bands = [s for s in charts["Fresh training runs: loss of examples held out"].series
             if s.style == "band"]  # fmt: skip
    assert len(bands) == 2

    # What is finished is kept, and an edited problem is not mistaken for it.
    lines = (directory / "NRES-101" / "metrics.jsonl").read_text()
    assert main(TUNE) == 0
    assert (directory / "NRES-101" / "metrics.jsonl").read_text() == lines
    (mine / "mine.py").write_text(MINE.replace("Linear(0.05", "Linear(0.06"))
    capsys.readouterr()
    assert main(TUNE) == 1
    assert "another problem" in capsys.readouterr().err


@pytest.mark.slow
def test_a_page_says_no_place_of_a_machine_and_logs_what_it_names(mine):
    """Parameters are coordinates, and are called what they are: logarithms, and logits."""
    problem = runpy.run_path(str(mine / "mine.py"))["problem"]
    experiment = TuneExperiment(
        training=problem, estimator=unspool.NRES(2, 2, sigma=0.1), num_updates=1, learning_rate=0.1,
        num_runs=1, seeds=1, label="/elsewhere/of/somebody/mine.py:problem",
    )  # fmt: skip
    assert experiment.title == "Tuning mine.py:problem"
    assert "mine.py:problem" in experiment.details().description
    assert "somebody" not in experiment.details().description
    learning_rates = "log learning_rate.first", "log learning_rate.last"
    assert experiment.parameter_names == (*learning_rates, "logit momentum")
    assert Log(low=1e-3).coordinate_name.format("rate") == "log rate, before clipping"


@pytest.mark.slow
def test_training_runs_that_diverge_are_counted_and_end_in_words(mine, capsys):
    steep = MINE.replace(
        "inputs @ weights, labels))", "inputs @ weights, labels)) + weights[0] ** 4"
    )
    (mine / "wild.py").write_text(steep.replace("Linear(0.05, 0.01)", "Constant(50.0)"))
    wild = ["tune", "wild.py:problem", "--num-updates", "60", "--num-workers", "5"]
    assert main(wild) == 1
    said = capsys.readouterr()
    assert "workers whose training runs diverged were left out" in said.err
    assert "workers dropped" in said.err and "report.html" in said.err
    assert not (mine / "runs" / "tune-problem" / "tuned.json").exists()
    page = (mine / "runs" / "tune-problem" / "report.html").read_text()
    assert "workers were dropped" in page


def test_the_reported_curve_is_that_of_a_plain_loop(mine):
    """With the schedule of the file, and nothing of the library but the batches' keys."""
    problem = unspool.load_object("mine.py:problem", mine)
    key = jax.random.key(7)
    params = jax.tree.map(lambda x: x + 0.5, problem.init_params(key=key))
    curve = learning_curve(problem, params, key=key, every=20)
    export.save(problem, params, mine / "tuned.json")
    tables = json.loads((mine / "tuned.json").read_text())["hyperparameters"]
    rates = np.asarray(tables["learning_rate"]["values"])
    weights = problem.model.init(key)
    trace = np.zeros(3)
    for t in range(20):
        index = jax.random.bits(jax.random.fold_in(key, t), (8,)) % 40
        batch = jax.tree.map(lambda x, i=index: x[i], problem.data.train)
        trace = tables["momentum"]["values"] * trace + jax.grad(problem.model.loss)(weights, batch)
        weights = optax.apply_updates(weights, -rates[t].astype(np.float32) * trace)
    found = problem.model.loss(weights, problem.data.valid)
    np.testing.assert_allclose(found, curve.loss[-1], rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the problem first"),
        (
            ["mine.py:other"],
            "of type Cubic, and must be an instance of unspool.problems.sch",
        ),
        (["mine.py:absent"], "there is no 'absent' in mine.py"),
        (["mine.py:problem", "nrse"], "did you mean nres?"),
        (["mine.py:problem", "--num-updates", "0"], "--num-updates must be an integer of at least"),
        (["mine.py:problem", "--sigma", "-1"], "sigma must be"),
        (["mine.py:problem", "--windwo", "5"], "did you mean --window?"),
    ],
)
def test_a_mistake_is_one_line(mine, words, said, capsys):
    assert main(["tune", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_too_many_hyperparameters_to_draw_are_refused(mine, monkeypatch, capsys):
    monkeypatch.setattr(tune, "MOST_PARAMS_LOGGED", 2)
    assert main(TUNE) == 2
    assert "mine.py:problem has 3 numbers to tune" in capsys.readouterr().err
