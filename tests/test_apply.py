"""The commands `unspool export` and `unspool apply`, after a meta-training of a user's file."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import export
from unspool.cli.__main__ import main
from unspool.experiments import baselines
from unspool.experiments.own import apply_experiment
from unspool.problems.learned_optimizer import MLPOptimizer
from unspool.records import read_studies

pytest.importorskip("safetensors.numpy")

MINE = """
import jax
import jax.numpy as jnp
import optax
from unspool.data import digits, split
from unspool.problems import Cubic
from unspool.problems.learned_optimizer import *
from unspool.problems.schedules import *

train, valid, _ = split(digits(), 300, 100, -1)


def init(key):
    keys = jax.random.split(key)
    return [jax.random.normal(keys[0], (64, 4)) / 8, jax.random.normal(keys[1], (4, 10)) / 2]


def loss(weights, batch):
    inputs, labels = batch
    scores = jnp.tanh(inputs @ weights[0]) @ weights[1]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels))


class Plain(AbstractLearnedOptimizer):
    def init_params(self, *, key):
        return jnp.log(jnp.array(0.1))

    def init(self, weights):
        return ()

    def update(self, params, gradients, state, weights, t):
        return jax.tree.map(lambda g: -jnp.exp(params) * g, gradients), state


model = Model(init, loss)
task = Task(model, Data(tuple(train), tuple(valid), batch_size=16))
problem = OptimizerTraining(MLPOptimizer((4,)), task, horizon=20)
plain = OptimizerTraining(Plain(), task, horizon=20)
space = {"learning_rate": Constant(0.1)}
tuning = ModelTraining(model, task.data, optax.sgd, space, horizon=20)
other = Cubic()
"""
TRAIN = ["--num-updates=4", "--num-workers=2", "--window=5", "--sigma=0.01", "--num-episodes=0"]
APPLY = ["apply", "run/optimizer.safetensors", "mine.py:problem", "--num-steps=20", "--seeds=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with a file of the user's, and a meta-training of it."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "mine.py:problem", "nres", *TRAIN, "--directory=run"]) == 0
        assert main(["export", "run"]) == 0
    yield folder
    jax.clear_caches()


@pytest.fixture
def mine(trained, monkeypatch):
    monkeypatch.chdir(trained)
    few = {
        label: baseline._replace(rates=baseline.rates[2:9:3])
        for label, baseline in baselines.BASELINES.items()
    }
    monkeypatch.setattr(apply_experiment, "BASELINES", few)
    return trained


def test_a_meta_training_becomes_a_file(mine, capsys):
    assert main(["export", "run", "--file", "newest.safetensors"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("newest.safetensors\n")
    assert "unspool.export.load_optimizer('newest.safetensors')" in said
    saved = export.read_optimizer("newest.safetensors")
    assert saved.optimizer == MLPOptimizer((4,))
    assert saved.notes["update"] == 4 and "on mine.py:problem" in saved.notes["trained_by"]
    last = json.loads((mine / "run" / "metrics.jsonl").read_text().splitlines()[-1])["params"]
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(saved.params)])
    np.testing.assert_array_equal(flat, np.array(last, np.float32))
    assert main(["export", "run", "--file", "first.safetensors", "--update", "0"]) == 0
    start = export.read_optimizer("first.safetensors")
    assert start.notes["update"] == 0
    assert not np.array_equal(start.params["layer0"]["matrix"], saved.params["layer0"]["matrix"])


def test_a_learned_optimizer_meets_tuned_ones(mine, capsys):
    assert main(APPLY) == 0
    said = capsys.readouterr().out.splitlines()
    directory = mine / "runs" / "apply-optimizer-problem"
    after = said[said.index(str(directory.relative_to(mine) / "report.html")) + 1]
    assert after.startswith("After 20 steps the validation loss is, as a mean over 2 seeds, ")
    page = (directory / "report.html").read_text()
    assert after.split(" with ")[0] in page
    assert "Learning rates" in page

    # The numbers are those of a plain loop.
    (study,) = read_studies([directory])
    curves, rates = study.experiment.charts
    lines = {s.label: s for s in curves.series if s.style == "line"}
    assert list(lines) == ["learned", "Adam", "momentum SGD"]
    assert lines["learned"].x == list(range(21))
    assert curves.y_scale == "log" and rates.x_scale == "log"
    (across,) = [s for s in rates.series if s.label == "learned" and s.style == "line"]
    assert across.y == [lines["learned"].y[-1]] * 2
    task = unspool.load_object("mine.py:task", mine)
    transformation = export.load_optimizer("run/optimizer.safetensors")
    values = json.loads((directory / "measured" / "learned.json").read_text())["values"]
    key = apply_experiment.stream(jax.random.key(101), apply_experiment.Purpose.EVALUATION)
    weights_key, batches_key = jax.random.split(key)
    weights = task.model.init(weights_key)
    state = transformation.init(weights)
    for t in range(20):
        batch = task.data.draw_train(jax.random.fold_in(batches_key, t))
        updates, state = transformation.update(
            jax.grad(task.model.loss)(weights, batch), state, weights
        )
        weights = optax.apply_updates(weights, updates)
    found = task.model.loss(weights, task.data.valid)
    np.testing.assert_allclose(found, values["101"][-1], rtol=1e-5)
    others = {p.stem: json.loads(p.read_text())["values"] for p in directory.glob("measured/*")}
    assert len(others) == 7
    # The same weights at the start for all, and a rate is chosen on another run.
    assert {v["101"][-21] for v in others.values()} == {values["101"][0]}
    del others["learned"]
    assert all(len(v["101"]) == 22 for v in others.values())
    selection_losses, shown = ({v["101"][place] for v in others.values()} for place in (0, -1))
    assert all(map(math.isfinite, selection_losses)) and not selection_losses & shown

    # What is finished is kept; more seeds are added; another file or task is not mistaken for it.
    kept = (directory / "measured" / "learned.json").stat().st_mtime_ns
    assert main(APPLY) == 0
    assert (directory / "measured" / "learned.json").stat().st_mtime_ns == kept
    (mine / "mine.py").write_text(MINE.replace("300, 100", "300, 101"))
    capsys.readouterr()
    assert main(APPLY) == 2
    assert "contents" in capsys.readouterr().err
    (mine / "mine.py").write_text(MINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export"], "missing: RUN, the directory of a run"),
        (["export", "absent"], "there is no run in absent"),
        (["export", "run", "--update", "7"], "--update must be one of the checkpoints in run, 0, "),
        (["export", "run", "--flie", "x"], "did you mean --file?"),
        (["apply"], "missing: FILE, a learned optimizer"),
        (["apply", "run/optimizer.safetensors"], "missing: TASK, a model and its data"),
        (["apply", "absent.safetensors", "mine.py:task"], "there is no file"),
        (["apply", "mine.py", "mine.py:task"], "must be a file that save_optimizer wrote"),
        (["apply", "run/optimizer.safetensors", "mine.py"], "name one as mine.py:NAME"),
        (["apply", "run/optimizer.safetensors", "mine.py:taks"], "did you mean task?"),
        (["apply", "run/optimizer.safetensors", "absent.py:task"], "there is no file absent.py"),
        (["apply", "run/optimizer.safetensors", "mine.py:other"], "of type Cubic, and must be"),
        ([*APPLY, "--seeds=0"], "--seeds must be an integer of at least 1, got 0"),
        ([*APPLY, "--optimizer=mine.py:task"], "of type Task, and must be"),
        ([*APPLY, "--optimizer=mine.py:MLPOptimizer", "--num-steps=0"], "--num-steps must be"),
    ],
)
def test_a_mistake_is_one_line(mine, words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.slow
def test_an_optimizer_of_the_users_own_takes_its_class(mine, capsys):
    """One step size for all, never trained: plain gradient descent."""
    assert main(["train", "mine.py:plain", "nres", *TRAIN, "--directory=own"]) == 0
    capsys.readouterr()
    assert main(["export", "own", "--update=0"]) == 0
    said = capsys.readouterr().out
    assert "load_optimizer('own/optimizer.safetensors', optimizer=Plain)" in said
    assert "--optimizer FILE.py:Plain" in said
    words = ["apply", "own/optimizer.safetensors", "mine.py:task", "--num-steps=3", "--seeds=1"]
    assert main(words) == 2
    assert "--optimizer FILE.py:CLASS" in capsys.readouterr().err
    assert main([*words, "--optimizer=mine.py:Plain", "--directory=applied"]) == 0
    values = json.loads((mine / "applied" / "measured" / "learned.json").read_text())["values"]
    task, key = unspool.load_object("mine.py:task", mine), jax.random.key(101)
    sgd = baselines.losses_while_training(
        task, optax.sgd, 3, jnp.array(0.1),
        apply_experiment.stream(key, apply_experiment.Purpose.EVALUATION), jnp.array(False),
    )  # fmt: skip
    np.testing.assert_allclose(values["101"], sgd, rtol=1e-5)


@pytest.mark.parametrize("problem", ["tuning", slow("other")])
def test_a_run_without_an_optimizer_is_told_what_to_use(mine, problem, capsys):
    directory = f"run-{problem}"
    assert main(["train", f"mine.py:{problem}", "nres", *TRAIN, f"--directory={directory}"]) == 0
    capsys.readouterr()
    assert main(["export", directory]) == 2
    wanted = "unspool.export.save in Python" if problem == "tuning" else "OptimizerTraining has an"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "apply"])
def test_help_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: unspool {command}") and "unspool.export" in said
