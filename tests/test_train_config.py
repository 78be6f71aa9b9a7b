"""Settings as data: what is built of them, the files they stand in, and the runs they make."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.cli import FAST, lines, one_line, read
from support.cli import somewhere as somewhere
from unspool import Spec, TrainConfig
from unspool.cli.__main__ import main
from unspool.cli.train_config import parse_train_config, read_base

FILES = {
    "settings.toml": """
num_updates = 4
num_episodes = 2
clip_norm = 2.0
problem = "mine.py:Walk"
[estimator]
name = "gpes"
options = { num_workers = 4, directions = { name = "orthogonal", options = { size = 2 } } }
[optimizer]
name = "sgd"
options = { learning_rate = 0.1, momentum = 0.5 }
""",
    "settings.yaml": """
num_updates: 4
num_episodes: 2
clip_norm: 2.0
problem: mine.py:Walk
estimator:
  name: gpes
  options: {num_workers: 4, directions: {name: orthogonal, options: {size: 2}}}
optimizer: {name: sgd, options: {learning_rate: 0.1, momentum: 0.5}}
""",
    "settings.json": """
{"num_updates": 4, "num_episodes": 2, "clip_norm": 2.0, "problem": "mine.py:Walk",
 "estimator": {"name": "gpes", "options": {"num_workers": 4,
   "directions": {"name": "orthogonal", "options": {"size": 2}}}},
 "optimizer": {"name": "sgd", "options": {"learning_rate": 0.1, "momentum": 0.5}}}
""",
}


def simple(**changes) -> TrainConfig:
    """The settings of a short training."""
    fast = {"num_updates": 4, "num_episodes": 2}
    fast |= {"problem": Spec("cubic"), "estimator": Spec("nres", {"num_workers": 2})}
    return TrainConfig(**fast | changes)


def build(command: str) -> unspool.Training:
    """What a command line trains."""
    argv = command.split()
    return unspool.build_training(parse_train_config(argv, Path(), read_base(argv)).config)


@pytest.mark.parametrize("file", FILES)
def test_a_file_gives_what_its_options_would(file, somewhere):
    (somewhere / "folder").mkdir()
    Path("mine.py").rename("folder/mine.py")
    Path("folder", file).write_text(FILES[file])
    config = TrainConfig.read(f"folder/{file}")
    assert config.problem == Spec("folder/mine.py:Walk")
    training = unspool.build_training(config)
    directions = unspool.OrthogonalDirections(size=2)
    assert training.estimator == unspool.GPES(4, 1, 1, 0.1, directions=directions)
    typed = "folder/mine.py:Walk gpes --num-workers 4 --directions orthogonal --directions.size 2 "
    typed += "--optimizer sgd --learning-rate 0.1 --momentum 0.5 --clip-norm 2 "
    typed = build(typed + "--num-updates 4 --num-episodes 2")
    assert typed.config == training.config
    # Options go before the file.
    command = f"--config folder/{file} --momentum 0.25 --num-workers 8 --directions.size 4"
    other = build(command)
    assert other.estimator.num_workers == 8 and other.estimator.directions.size == 4
    assert other.config.optimizer.options["momentum"] == 0.25
    assert other.config.clip_norm == 2 and type(other.problem).__name__ == "Walk"


@pytest.mark.slow
def test_the_settings_of_a_run_begin_another(capsys):
    assert main(["train", "mine.py:Walk", "nres", *FAST, "--seed", "3", "--directory", "a"]) == 0
    assert main(["train", "--config", "a/config.json", "--directory", "b"]) == 0
    assert lines("a/metrics.jsonl") == lines("b/metrics.jsonl")
    assert main(["train", "--config", "a/config.json", "--seed=4", "--directory=c"]) == 0
    assert lines("a/metrics.jsonl") != lines("c/metrics.jsonl")
    assert read("c/config.json")["settings"]["seed"] == 4


def test_a_run_from_python_is_one_of_the_command_line(capsys):
    config = simple(float64=True)
    records = list(unspool.train_run(config, "python"))
    assert [record.update for record in records] == [1, 2, 3, 4]
    assert jnp.zeros(()).dtype == jnp.float32
    assert main(["train", "cubic", "nres", *FAST, "--float64", "--directory", "typed"]) == 0
    assert lines("python/metrics.jsonl") == lines("typed/metrics.jsonl")
    assert lines("python/evaluation.jsonl") == lines("typed/evaluation.jsonl")
    same = ["settings", "fingerprints", "from", "label"]
    python, typed = read("python/config.json"), read("typed/config.json")
    assert [python[name] for name in same] == [typed[name] for name in same]
    assert main(["train", "--resume", "python", "--num-updates", "6"]) == 0
    assert [r.update for r in unspool.resume_run("typed", num_updates=6)] == [5, 6]
    assert lines("python/metrics.jsonl") == lines("typed/metrics.jsonl")
    with pytest.raises(unspool.ConfigError, match="has made its 6 updates"):
        list(unspool.resume_run("typed"))


@pytest.mark.slow
def test_a_run_of_version_0_1_is_gone_on_with_and_written_anew(capsys):
    assert main(["train", "mine.py:Walk", "nres", *FAST, "--directory", "old"]) == 0
    config = read("old/config.json")
    for name in ("settings", "fingerprints"):
        del config[name]
    words = "nres --problem.goal=1.0 --problem.start 0.0 0.0 --problem.squared --num-workers=2 "
    words += "--window=1 --sigma=0.1 --pairs-per-group=1 --optimizer=adam --learning-rate=0.01 "
    words += "--num-updates=4 --seed=0 --log-every=1 --checkpoint-every=1 --num-episodes=2 "
    command = ["mine.py:Walk", *words.split(), "--no-float64"]
    Path("old/config.json").write_text(json.dumps(config | {"format": 1, "command": command}))
    with pytest.raises(unspool.ConfigError, match="version 0.1: `unspool train --resume old`"):
        TrainConfig.read("old/config.json")
    assert main(["train", "--resume", "old", "--num-updates", "6"]) == 0
    assert main(["train", "mine.py:Walk", "nres", *FAST, "--num-updates=6", "--directory=new"]) == 0
    assert lines("old/metrics.jsonl") == lines("new/metrics.jsonl")
    again = read("old/config.json")
    assert again["format"] == 2 and "command" not in again
    assert TrainConfig.read("old/config.json").num_updates == 6


def test_optimizers_are_those_of_optax_with_their_options():
    command = "cubic nres --optimizer adamw --b1 0.5 --weight-decay 0.1 --learning-rate 0.2 "
    command += "--schedule warmup-cosine --schedule.warmup-steps 2 --num-updates 10 --clip-norm 1"
    made = build(command)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.2, 2, 10)
    adamw = optax.adamw(schedule, b1=0.5, weight_decay=0.1)
    expected = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    params = jnp.array([1.0, -2.0])
    states = made.optimizer.init(params), expected.init(params)
    for step in range(10):
        grad = jnp.array([10.0 * step, 0.1])
        pairs = zip((made.optimizer, expected), states, strict=True)
        steps = [optimizer.update(grad, state, params) for optimizer, state in pairs]
        np.testing.assert_array_equal(steps[0][0], steps[1][0])
        states = [state for _, state in steps]
    assert made.config.schedule.options["decay_steps"] == 10
    # Goes on with the schedule that it began with.
    longer = build("cubic nres --schedule exponential --num-updates 10").config
    assert longer.schedule.options["transition_steps"] == 10
    momentum = build("cubic nres --optimizer momentum").config.optimizer
    assert (momentum.name, momentum.options["momentum"]) == ("optax:sgd", 0.9)


OWN = """
import optax
import unspool


pair = unspool.BPTT(2)


def slow(learning_rate: float, factor: float = 0.1, seed: int = 0):
    assert seed in (0, 3)
    return optax.chain(optax.sgd(learning_rate), optax.scale(factor))


def step(init_value: float, at: int = 3):
    return lambda count: init_value * (count < at)


ready = optax.sgd(0.5)
"""


def test_the_users_own_are_named_like_their_problems(capsys):
    Path("own.py").write_text(OWN)
    example = Path(__file__).parent.parent / "examples" / "own_estimator.py"
    command = f"cubic {example}:ScatteredNRES --sigma 0.25 --seed 5 "
    command += "--optimizer own.py:slow --factor 0.5 --optimizer.seed 3 "
    command += "--schedule own.py:step --schedule.at 2"
    made = build(command)
    assert (made.estimator.sigma, type(made.estimator).__name__) == (0.25, "ScatteredNRES")
    # The name of the optimizer's option is that of another one.
    assert (made.config.optimizer.options["seed"], made.config.seed) == (3, 5)
    moves = []
    state = made.optimizer.init(jnp.array(1.0))
    for _ in range(3):
        move, state = made.optimizer.update(jnp.array(1.0), state)
        moves.append(float(move))
    assert moves == pytest.approx([-0.005, -0.005, 0.0])
    made = build("cubic own.py:pair --optimizer own.py:ready")
    assert made.estimator == unspool.BPTT(2)
    assert made.config.optimizer == Spec("own.py:ready")
    assert float(made.optimizer.update(jnp.array(1.0), made.optimizer.init(0.0))[0]) == -0.5


WRONG = {
    "settings: there is no setting 'num_update'; did you mean num_updates?": {"num_update": 3},
    "settings: 'num_updates' is \"3\", but must be a whole number": {"num_updates": "3"},
    "num_updates must be an integer of at least 1, got 0": {"num_updates": 0},
    "cubic has no option 'horizn'; did you mean horizon?": {
        "problem": {"name": "cubic", "options": {"horizn": 3}}
    },
    "horizon must be int, got 'far'": {"problem": {"name": "cubic", "options": {"horizon": "far"}}},
    "there is no estimator 'nrs'; did you mean nres?": {"estimator": "nrs"},
    "optax:sgd has no option 'momentm'; did you mean momentum?": {
        "optimizer": {"name": "sgd", "options": {"learning_rate": 0.1, "momentm": 0.1}}
    },
}


@pytest.mark.parametrize("said", WRONG)
def test_wrong_settings_are_named_with_legal_ones(said, capsys):
    values = {"problem": "cubic", "estimator": "nres"} | WRONG[said]
    Path("settings.json").write_text(json.dumps(values))
    assert main(["train", "--config", "settings.json"]) == 2
    assert said.removeprefix("settings: ") in one_line(capsys).replace("unspool.problems:C", "c")


def test_settings_are_read_and_written_without_jax():
    check = "import sys; sys.modules['jax'] = None; from unspool import Spec, TrainConfig\n"
    check += "TrainConfig(problem=Spec('cubic'), estimator=Spec('nres')).write('settings.json')\n"
    check += "print(TrainConfig.read('settings.json').problem.name)"
    told = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("cubic\n", "")


def test_the_users_objects_are_loaded_by_name():
    assert unspool.load_object("mine.py:number") == 3
    with pytest.raises(unspool.ConfigError, match="there is no 'numbers' in mine.py; did you mean"):
        unspool.load_object("mine.py:numbers")
    with pytest.raises(unspool.ConfigError, match="must be file.py:NAME"):
        unspool.load_object("mine.py")
    with pytest.raises(ZeroDivisionError) as raised:
        Path("broken.py").write_text("1 / 0")
        unspool.load_object("broken.py:x")
    assert raised.value.__notes__ == ["unspool: while importing broken.py"]


def test_a_file_is_run_once_as_long_as_it_stays_the_same(capsys):
    Path("told.py").write_text("from mine import *\nprint('run')\n")
    build("told.py:ready nres --directions orthogonal --directions.size 2")
    assert capsys.readouterr().out == "run\n"
    Path("told.py").write_text("from mine import *\nprint('run again')\n")
    build("told.py:ready nres")
    assert capsys.readouterr().out == "run again\n"


def test_a_run_is_evaluated_about_ten_times():
    """Where a tenth of all updates is reached, rounded up, at the start and at the end."""
    list(unspool.train_run(simple(num_updates=25), "run"))
    updates = [line["update"] for line in lines("run/evaluation.jsonl")]
    assert updates == [0, 3, 6, 9, 12, 15, 18, 21, 24, 25]


def test_a_run_names_the_parts_that_its_estimator_has_by_default():
    options = unspool.build_training(simple()).config.estimator.options
    # What is `None` is left out, so that TOML can hold the rest.
    assert options["directions"] == {"name": "unspool:GaussianDirections", "options": {}}
    assert options["phases"]["name"] == "unspool:EvenPhases"
    many = unspool.build_training(with_workers(20)).config.estimator.options
    assert many["directions"]["name"] == "unspool:LatticeDirections"
    controlled = Spec("controlled-nres", {"num_workers": 2})
    options = unspool.build_training(simple(estimator=controlled)).config.estimator.options
    assert options["control"] == {
        "name": "unspool:FittedWindowControl",
        "options": {"decay": 0.95, "fewest_pairs": 8},
    }


def with_workers(count, **options):
    return simple(estimator=Spec("nres", {"num_workers": count} | options))


@pytest.mark.slow
def test_a_run_of_before_goes_on_with_the_directions_that_it_began_with(somewhere):
    list(unspool.train_run(with_workers(20, directions=Spec("gaussian")), "named"))
    list(unspool.train_run(with_workers(20, directions=Spec("gaussian")), "before"))
    config = read("before/config.json")
    for name in ("directions", "phases"):
        del config["settings"]["estimator"]["options"][name]
    Path("before/config.json").write_text(json.dumps(config))
    for directory in ("named", "before"):
        assert len(list(unspool.resume_run(directory, num_updates=6))) == 2
    assert lines("named/metrics.jsonl") == lines("before/metrics.jsonl")
    assert read("before/config.json")["settings"] == read("named/config.json")["settings"]


def test_what_is_chosen_is_said(capsys):
    command = ["train", "cubic", "nres", *FAST, "--num-workers", "20"]
    assert main([*command, "--directory", "chosen"]) == 0
    assert (
        "directions LatticeDirections by default; --directions gaussian" in capsys.readouterr().out
    )
    assert main([*command, "--directory", "named", "--directions", "gaussian"]) == 0
    assert "by default" not in capsys.readouterr().out
    assert lines("chosen/metrics.jsonl") != lines("named/metrics.jsonl")


def test_a_cut_is_named_and_its_matrix_is_numbers():
    named = ["cubic", "low-rank-uoro", "--rank", "2", "--cut", "parameter"]
    assert isinstance(build(" ".join(named)).estimator.cut, unspool.ParameterCut)
    matrix = [[1.0, 0.5], [0.0, 2.0]]
    cut = {"name": "parameter", "options": {"matrix": matrix}}
    uoro = Spec("uoro", {"num_workers": 2, "window": 2, "cut": cut})
    list(unspool.train_run(simple(estimator=uoro), "run"))
    kept = read("run/config.json")["settings"]["estimator"]["options"]["cut"]
    assert kept == {"name": "unspool:ParameterCut", "options": {"matrix": matrix}}
    assert len(list(unspool.resume_run("run", num_updates=6))) == 2
    wrong = Spec("uoro", {"cut": {"name": "state", "options": {"matrix": [[1.0, 2.0]]}}})
    with pytest.raises(ValueError, match=r"square, or a diagonal, got the shape \(1, 2\)"):
        unspool.build_training(simple(estimator=wrong))
