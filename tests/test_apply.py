"""Learned optimizers on their way out: as optax, as files, and against tuned ones."""

import json
import pickle
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unspool import export
from unspool.cli import applying
from unspool.cli.__main__ import main
from unspool.experiments import contenders
from unspool.experiments.comparison import Comparison, Grid
from unspool.problems import learned_optimizer
from unspool.problems.learned_optimizer import (
    AbstractLearnedOptimizer,
    Frozen,
    MLPOptimizer,
    OptimizerTraining,
    Task,
)
from unspool.problems.schedules import Data, Model
from unspool.report.read import read_studies

safetensors = pytest.importorskip("safetensors.numpy")

DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(60, 3)).astype(np.float32)
TARGETS = (INPUTS @ np.array([1.0, -2.0, 0.5])).astype(np.float32)


def loss(weights, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ weights["matrix"] + weights["bias"] - targets) ** 2)


def init(key):
    return {"bias": jnp.zeros(()), "matrix": jax.random.normal(key, (3,))}


TASK = Task(
    Model(init, loss), Data((INPUTS[:40], TARGETS[:40]), (INPUTS[40:], TARGETS[40:]), batch_size=8)
)
SMALL = MLPOptimizer((4,))


@pytest.fixture(scope="module")
def params():
    return SMALL.init_params(key=jax.random.key(3))


def same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)


def test_the_plain_loop_makes_the_steps_of_meta_training(params):
    problem = OptimizerTraining(SMALL, TASK, horizon=20)
    keys = jax.random.split(jax.random.key(1), 20)
    start = problem.init_state(params, key=jax.random.key(2))

    def inner(state, at):
        state, _ = problem.step(params, state, at[0], key=at[1])
        return state, state["weights"]

    _, expected = jax.jit(lambda: jax.lax.scan(inner, start, (jnp.arange(20), keys)))()
    transformation = export.as_optax(SMALL, params)

    @jax.jit
    def step(weights, state, batch):
        gradients = jax.grad(loss)(weights, batch)
        updates, state = transformation.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    weights = start["weights"]
    state = transformation.init(weights)
    for t in range(20):
        batch = TASK.data.draw_train(jax.random.split(keys[t])[0])
        weights, state = step(weights, state, batch)
        for name in weights:
            np.testing.assert_allclose(weights[name], expected[name][t], rtol=1e-6, atol=1e-7)
    assert int(state.count) == 20
    assert step._cache_size() == 1


TREES = {
    "a scalar": jnp.ones(()),
    "nested": {"a": [jnp.ones((2, 3)), (jnp.ones(4), jnp.ones((1, 2, 2)))], "b": None},
    "half": (jnp.ones(3, jnp.bfloat16), jnp.ones((2, 2), jnp.float16)),
    "mixed": [jnp.ones(3, jnp.bfloat16), jnp.ones(2)],
}


@pytest.mark.parametrize("weights", TREES.values(), ids=TREES)
def test_any_tree_of_weights_keeps_its_types(weights, params):
    transformation = optax.chain(optax.clip(1.0), export.as_optax(SMALL, params), optax.scale(2.0))
    state = transformation.init(weights)
    update = jax.jit(transformation.update)
    for _ in range(2):
        updates, after = update(jax.tree.map(jnp.ones_like, weights), state, weights)
        kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
        assert kinds(updates) == kinds(weights)
        assert kinds(after) == kinds(state)
        state = after
    assert update._cache_size() == 1
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state[1].optimizer))


def test_double_precision(float64, params):
    weights = init(jax.random.key(0))
    assert weights["matrix"].dtype == jnp.float64
    transformation = export.as_optax(SMALL, params)
    updates, _ = transformation.update(weights, transformation.init(weights), weights)
    assert updates["matrix"].dtype == jnp.float64


def test_parameters_in_double_precision_are_kept_and_read_in_what_jax_has(tmp_path):
    with jax.enable_x64(True):
        params = SMALL.init_params(key=jax.random.key(0))
        assert params["layer0"]["matrix"].dtype == jnp.float64
        export.save_optimizer(SMALL, params, tmp_path / "file")
        same(export.read_optimizer(tmp_path / "file").params, params)
    single = export.read_optimizer(tmp_path / "file").params
    same(single, jax.tree.map(lambda x: np.asarray(x, np.float32), params))


def test_half_precision_does_not_freeze_the_slow_momenta(params):
    """In bfloat16 a decay of 0.9999 would be one, and its momentum zero for ever."""
    transformation = export.as_optax(SMALL, params)
    weights = jnp.ones(2, jnp.bfloat16)
    _, state = transformation.update(weights, transformation.init(weights), weights)
    np.testing.assert_allclose(state.optimizer[-1], 1e-4, rtol=1e-3)


def test_a_saved_state_goes_on_to_the_same_bits(params):
    transformation = export.as_optax(SMALL, params)
    update = jax.jit(transformation.update)

    def go(weights, state, steps):
        for _ in range(steps):
            gradients = jax.grad(loss)(weights, TASK.data.train)
            updates, state = update(gradients, state, weights)
            weights = optax.apply_updates(weights, updates)
        return weights, state

    start = init(jax.random.key(0)), transformation.init(init(jax.random.key(0)))
    halfway = pickle.loads(pickle.dumps(jax.device_get(go(*start, 5))))
    same(go(*halfway, 5), go(*start, 10))


def test_weights_and_parameters_have_to_be_given(params):
    transformation = export.as_optax(SMALL, params)
    weights = init(jax.random.key(0))
    with pytest.raises(ValueError, match="params must be the weights"):
        transformation.update(weights, transformation.init(weights))
    with pytest.raises(ValueError, match=r"layer0.bias must be of shape \[32\], got .* \[4\]"):
        export.as_optax(MLPOptimizer(), params)
    with pytest.raises(ValueError, match="layer0.bias must be of shape .* got left out"):
        export.as_optax(SMALL, {"x": jnp.ones(3)})


def test_a_file_holds_everything_to_the_bit(params, tmp_path):
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file, notes={"task": "a line", "updates": 3})
    saved = export.read_optimizer(file)
    assert saved.optimizer == SMALL
    assert saved.notes == {"task": "a line", "updates": 3}
    same(saved.params, params)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]

    # Other programs see the arrays by their names; and the same gives the same bytes.
    assert sorted(safetensors.load_file(file)) == sorted(
        f"layer{i}.{name}" for i in range(2) for name in ("bias", "matrix")
    )
    before = file.read_bytes()
    export.save_optimizer(SMALL, params, file, notes={"task": "a line", "updates": 3})
    assert file.read_bytes() == before

    weights = init(jax.random.key(0))
    found = []
    for transformation in (export.load_optimizer(file), export.as_optax(SMALL, params)):
        found.append(transformation.update(weights, transformation.init(weights), weights))
    same(*found)


EXPORTED = sorted(
    name
    for name, value in vars(learned_optimizer).items()
    if isinstance(value, type) and issubclass(value, AbstractLearnedOptimizer)
    if value not in (AbstractLearnedOptimizer, Frozen)
)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_learned_optimizer_goes_through_a_file(name, tmp_path):
    made = getattr(learned_optimizer, name)()
    params, file = made.init_params(key=jax.random.key(0)), tmp_path / "file"
    export.save_optimizer(made, params, file)
    saved = export.read_optimizer(file)
    assert saved.optimizer == made
    same(saved.params, params)
    weights = TREES["nested"]
    for transformation in (export.load_optimizer(file), export.as_optax(made, params)):
        updates, _ = transformation.update(weights, transformation.init(weights), weights)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(updates))


def test_what_was_frozen_is_saved_with_the_rest(params, tmp_path):
    frozen = Frozen(SMALL, params, ("layer0",))
    learned = jax.tree.map(lambda x: x + 1, frozen.init_params(key=jax.random.key(0)))
    # One within another, as a third stage of meta-training would have it.
    twice = Frozen(frozen, learned, ("layer1.bias",))
    file = tmp_path / "file"
    export.save_optimizer(twice, twice.init_params(key=jax.random.key(0)), file)
    saved = export.read_optimizer(file)
    assert saved.optimizer == SMALL
    same(saved.params, frozen.full(learned))
    weights = init(jax.random.key(0))
    found = [
        transformation.update(weights, transformation.init(weights), weights)[0]
        for transformation in (export.load_optimizer(file), export.as_optax(frozen, learned))
    ]
    same(*found)


class Signs(AbstractLearnedOptimizer):
    """An optimizer of the user's: its parameters are a bare array, its state is empty."""

    floor: float = 0.0
    name: str = "signs"

    def init_params(self, *, key):
        return jnp.zeros(())

    def init(self, weights):
        return ()

    def update(self, params, gradients, state, weights, t):
        rate = jnp.exp(params) + self.floor
        return jax.tree.map(lambda g: -rate * jnp.sign(g), gradients), state


def test_a_class_of_the_users_is_given_and_never_imported(tmp_path):
    file = tmp_path / "signs.safetensors"
    export.save_optimizer(Signs(0.5), jnp.ones(()), file)
    with pytest.raises(ValueError, match="no class of this library.*optimizer=..."):
        export.load_optimizer(file)
    for given in (Signs, Signs(0.5)):
        saved = export.read_optimizer(file, optimizer=given)
        assert saved.optimizer == Signs(0.5)
        same(saved.params, jnp.ones(()))
    with pytest.raises(ValueError, match=r"floor=0.5, .* must be that, got .*floor=0.1"):
        export.load_optimizer(file, optimizer=Signs(0.1))
    with pytest.raises(ValueError, match="was saved of .*Signs.*: optimizer must be that"):
        export.load_optimizer(file, optimizer=MLPOptimizer)


def described(file, tmp_path, **changes):
    """The same file, with another description."""
    entry = "unspool.learned_optimizer"
    with safetensors.safe_open(file, "numpy") as opened:
        found = json.loads(opened.metadata()[entry])
    found = {name: value for name, value in (found | changes).items() if value is not None}
    forged = tmp_path / "forged.safetensors"
    safetensors.save_file(safetensors.load_file(file), forged, {entry: json.dumps(found)})
    return forged


def test_a_file_cannot_have_anything_run(params, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file)
    for name in (
        "evil:Evil",
        "os:system",
        "Task",
        "AbstractLearnedOptimizer",
        "Frozen",
        "",
        "__loader__",
    ):
        with pytest.raises(ValueError, match="no class of this library"):
            export.load_optimizer(described(file, tmp_path, **{"class": name}))
    assert "evil" not in sys.modules


def test_other_files_are_refused_in_a_sentence(params, tmp_path):
    file, bad = tmp_path / "optimizer.safetensors", tmp_path / "bad"
    export.save_optimizer(SMALL, params, file)
    whole = file.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="must be a file that save_optimizer wrote.*cut short"):
            export.load_optimizer(bad)
    bad.write_text("a text that is none of these, of some length")
    with pytest.raises(ValueError, match="must be a file that save_optimizer wrote"):
        export.load_optimizer(bad)
    with pytest.raises(ValueError, match="must be a file that save_optimizer wrote"):
        export.load_optimizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file .*absent"):
        export.load_optimizer(tmp_path / "absent")
    safetensors.save_file({"x": np.ones(3)}, bad)
    with pytest.raises(ValueError, match="has other contents"):
        export.load_optimizer(bad)
    changes = {
        "must have format 1, got 2": {"format": 2},
        "must hold a learned optimizer: KeyError": {"fields": None},
        "must hold a learned optimizer: TypeError": {"fields": {"hidden": {"a": 1}}},
        "its description does not fit": {"params": ["x"]},
        "must hold a learned optimizer: ValueError": {"notes": [1]},
        "must hold parameters of shapes": {"fields": {"hidden": [5]}},
        "holds no legal MLPOptimizer": {"fields": {"width": 5}},
        "hidden.*must be": {"fields": {"hidden": [0]}},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=message):
            export.load_optimizer(described(file, tmp_path, **change))


class Lists(Signs):
    """One whose fields are not plain."""

    rates: list = eqx.field(default_factory=list)


def test_what_cannot_be_written_is_refused_and_what_was_there_is_kept(params, tmp_path):
    file = tmp_path / "optimizer.safetensors"
    export.save_optimizer(SMALL, params, file)
    before = file.read_bytes()
    refused = {
        r"numbers, words, or tuples of them, got \[1\] for rates": (Lists(rates=[1]), jnp.ones(())),
        "float64, got bfloat16 in params": (Signs(), jnp.ones((), jnp.bfloat16)),
        "params must be those of MLPOptimizer": (MLPOptimizer(), params),
    }
    for message, (optimizer, wrong) in refused.items():
        with pytest.raises(ValueError, match=message):
            export.save_optimizer(optimizer, wrong, file)
    with pytest.raises(ValueError, match="notes must be what JSON can hold"):
        export.save_optimizer(SMALL, params, file, notes={"x": SMALL})
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_without_safetensors_the_extra_is_named(params, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'unspool\[export\]'"):
        export.save_optimizer(SMALL, params, tmp_path / "x")


# The commands.

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
        label: contender._replace(rates=contender.rates[2:9:3])
        for label, contender in contenders.CONTENDERS.items()
    }
    monkeypatch.setattr(applying, "CONTENDERS", few)
    applying.load_task.cache_clear()
    applying.load_learned.cache_clear()
    return trained


def test_a_meta_training_becomes_a_file(mine, capsys):
    assert main(["export", "run", "--file", "newest.safetensors"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("newest.safetensors\n")
    assert "unspool.export.load_optimizer('newest.safetensors')" in said
    saved = export.read_optimizer("newest.safetensors")
    assert saved.optimizer == MLPOptimizer((4,))
    assert (
        saved.notes["update"] == 4 and "unspool train mine.py:problem" in saved.notes["trained_by"]
    )
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
    assert said[-2] == str(directory.relative_to(mine) / "report.html")
    assert said[-1].startswith("After 20 steps the validation loss is, as a mean over 2 seeds, ")
    page = (directory / "report.html").read_text()
    assert said[-1].split(" with ")[0] in page
    assert "Learning rates" in page

    # The numbers are those of a plain loop.
    (study,) = read_studies([directory])
    curves, rates = study.experiment.charts
    lines = {s.label: s for s in curves.series if s.style == "line"}
    assert list(lines) == ["learned", "Adam", "momentum SGD"]
    assert lines["learned"].x.tolist() == list(range(21))
    assert curves.y_scale == "log" and rates.x_scale == "log"
    (across,) = [s for s in rates.series if s.label == "learned" and s.style == "line"]
    assert across.y.tolist() == [lines["learned"].y[-1]] * 2
    task = applying.load_task("mine.py:task", mine)
    transformation = export.load_optimizer("run/optimizer.safetensors")
    values = json.loads((directory / "measured" / "learned.json").read_text())["values"]
    key = applying.stream(jax.random.key(101), applying.Purpose.EVALUATION)
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
    assert all(len(v["101"]) == 22 for name, v in others.items() if name != "learned")

    # What is finished is kept; more seeds are added; another file or task is not mistaken for it.
    kept = (directory / "measured" / "learned.json").stat().st_mtime_ns
    assert main(APPLY) == 0
    assert (directory / "measured" / "learned.json").stat().st_mtime_ns == kept
    (mine / "mine.py").write_text(MINE.replace("300, 100", "300, 101"))
    applying.load_task.cache_clear()
    capsys.readouterr()
    assert main(APPLY) == 2
    assert "contents" in capsys.readouterr().err
    (mine / "mine.py").write_text(MINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export"], "name the run first"),
        (["export", "absent"], "there is no run in absent"),
        (["export", "run", "--update", "7"], "--update must be one of the checkpoints in run, 0, "),
        (["export", "run", "--flie", "x"], "did you mean --file?"),
        (["apply"], "name a file and a task first"),
        (["apply", "run/optimizer.safetensors"], "name a file and a task first"),
        (["apply", "absent.safetensors", "mine.py:task"], "there is no file"),
        (["apply", "mine.py", "mine.py:task"], "must be a file that save_optimizer wrote"),
        (["apply", "run/optimizer.safetensors", "mine.py"], "must be file.py:NAME"),
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
    task, key = applying.load_task("mine.py:task", mine), jax.random.key(101)
    sgd = contenders.losses_while_training(
        task, optax.sgd, 3, jnp.array(0.1), applying.stream(key, applying.Purpose.EVALUATION),
        jnp.array(False),
    )  # fmt: skip
    np.testing.assert_allclose(values["101"], sgd, rtol=1e-5)


@pytest.mark.parametrize("problem", ["tuning", "other"])
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


# Who wins, from numbers that are known.


def compared(learned, adam, chosen_on=None, rates=(0.1, 1.0)):
    """Two points for each run: where all begin, and where they end."""
    curves = lambda ends: np.stack([np.ones_like(np.array(ends)), np.array(ends)], -1)
    chosen_on = np.array(adam if chosen_on is None else chosen_on)
    grid = Grid(rates, chosen_on, curves(adam))
    return Comparison(np.array([0, 9]), "validation loss", curves(learned), {"Adam": grid})


def test_a_clear_winner_is_named_with_the_interval_of_the_differences():
    learned, adam = [0.5, 0.6, 0.7], [[0.61, 0.70, 0.81], [2.0, 2.0, 2.0]]
    said = " ".join(compared(learned, adam).sentences())
    # By hand: differences -0.11, -0.10, -0.11, whose t-interval reaches 4.303 standard errors out.
    assert "The learned optimizer ends lower than Adam: seed by seed, learned minus Adam" in said
    assert "−0.107 (−0.121 to −0.092)" in said
    assert "0.60 (0.35 to 0.85) with the learned optimizer" in said
    assert "with Adam at a learning rate of 0.1" in said
    said = " ".join(compared(adam[0], [learned, adam[1]]).sentences())
    assert "Adam ends lower than the learned optimizer" in said and "0.107 (0.092 to" in said


def test_what_cannot_be_told_apart_is_not_told_apart():
    said = " ".join(compared([0.5, 0.6, 0.7], [[0.6, 0.5, 0.71], [2.0, 2.0, 2.0]]).sentences())
    assert "The learned optimizer and Adam are not told apart" in said and "lower than" not in said
    ends = [0.5, 0.6]
    said = " ".join(compared(ends, [ends, [2.0, 2.0]]).sentences())
    assert "not told apart: seed by seed, learned minus Adam is 0 (0 to 0)" in said
    said = " ".join(compared([0.5], [[0.6], [2.0]]).sentences())
    assert "One seed cannot tell" in said and "interval" not in said


def test_the_rate_is_chosen_on_other_runs_than_those_shown():
    shown, chosen_on = [[0.9, 0.9], [0.1, 0.1]], [[0.1, 0.1], [0.9, 0.9]]
    comparison = compared([0.5, 0.5], shown, chosen_on)
    assert comparison.grids["Adam"].best == 0
    said = " ".join(comparison.sentences())
    assert "other runs, which are not shown" in said
    assert "The rate of Adam is at the end of its grid" in said


def test_runs_that_diverge_are_counted_and_drawn():
    nan = float("nan")
    adam = [[0.9, 0.8, 0.7], [0.1, nan, 0.1], [50.0, 50.0, 50.0]]
    comparison = compared([0.5, nan, 0.5], adam, rates=(0.01, 0.1, 1.0))
    # The rate with a diverged run is not chosen, though its other runs end lower.
    assert comparison.grids["Adam"].best == 0
    said = " ".join(comparison.sentences())
    assert "1 of 3 runs diverged with the learned optimizer, and 0 of 3 runs with Adam" in said
    assert "Of the two, Adam is the one to trust" in said
    _, chart = comparison.charts()
    (off,) = [s for s in chart["series"] if s["label"] == "off the chart"]
    assert off["x"] == [0.1, 1.0] and np.isfinite(off["y"]).all()
    assert "Adam diverged at 0.1 in 1 of 3 runs." in chart["note"]
    (line,) = [s for s in chart["series"] if s["label"] == "Adam" and s["style"] == "line"]
    assert line["y"][0] == pytest.approx(0.8) and np.isnan(line["y"][1:]).all()


def test_everything_may_diverge():
    nan = float("nan")
    comparison = compared([nan, nan], [[nan, nan], [nan, nan]])
    assert len(comparison.charts()) == 2
    assert "2 of 2 runs diverged with the learned optimizer" in " ".join(comparison.sentences())


def test_losses_below_zero_have_a_linear_axis():
    first, second = compared([-0.5, 0.4], [[0.3, 0.4], [0.5, 0.6]]).charts()
    assert first["y_scale"] == second["y_scale"] == "linear"
    assert compared([0.5, 0.4], [[0.3, 0.4], [0.5, 0.6]]).charts()[0]["y_scale"] == "log"


@pytest.mark.parametrize("num_steps", [1, 7, 50, 51, 1000, 1001])
def test_the_last_step_is_measured(num_steps):
    ends = contenders.measured_steps(num_steps)
    assert ends[-1] == num_steps and np.all(np.diff(ends, prepend=0) > 0) and len(ends) <= 50
