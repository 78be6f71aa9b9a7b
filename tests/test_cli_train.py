"""The command `unspool train`: what it reads, what it writes, and how a run goes on."""

import os
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.cli import FAST, MINE, lines, one_line, read
from support.cli import somewhere as somewhere
from unspool import extend
from unspool._config import names
from unspool._config.options import find_options
from unspool.cli.__main__ import main
from unspool.cli.train_config import parse_train_config, read_base


def settings(*argv):
    """The settings that a command line gives."""
    return parse_train_config(argv, Path()).config


def test_a_run_is_written_with_what_a_report_needs(capsys):
    command = "train mine.py:Walk nres --problem.start -1e-3 2 --problem.no-squared --sigma 0.2"
    assert main([*command.split(), *FAST, "--problem.gains", "1", "2", "3"]) == 0
    config = read("runs/walk-nres/config.json")
    assert config["problem"]["options"] == {
        "horizon": 6, "goal": 1.0, "start": [-0.001, 2.0], "gains": [1.0, 2.0, 3.0],
        "squared": False, "name": "walk", "limit": None,
    }  # fmt: skip
    assert config["estimator"] == {
        "name": "NRES",
        "options": {
            "num_workers": 2, "window": 1, "sigma": 0.2, "pairs_per_group": 1,
            "directions": {"name": "GaussianDirections", "options": {"keep": None}},
            "phases": {"name": "EvenPhases", "options": {}},
        },
        "estimand": "smoothed gradient",
    }  # fmt: skip
    assert config["parameter_names"] == ["params[0]", "params[1]"]
    assert [line["update"] for line in lines("runs/walk-nres/evaluation.jsonl")] == [0, 1, 2, 3, 4]
    assert [line["update"] for line in lines("runs/walk-nres/metrics.jsonl")] == [0, 1, 2, 3, 4]
    assert read("runs/walk-nres/status.json")["status"] == "finished"
    said = capsys.readouterr().out
    assert "estimator NRES: num_workers 2, window 1, sigma 0.2" in said
    assert "unspool report runs/walk-nres" in said
    assert re.search(r"^evaluated +\S+.* fresh episodes, \S+ at the start$", said, re.MULTILINE)


def test_names_may_be_written_in_any_way_and_directories_are_counted_up():
    for problem, estimator in (("Cubic", "ESSingle"), ("cubic", "es_single")):
        assert main(["train", problem, estimator, *FAST]) == 0
    assert sorted(os.listdir("runs")) == ["cubic-es-single", "cubic-es-single-2"]


def test_a_file_with_one_problem_needs_no_name_and_an_instance_is_taken_as_it_is():
    text = MINE.partition("ready = ")
    Path("single.py").write_text(text[0])
    assert main(["train", "single.py", "nres", *FAST, "--directory", "a"]) == 0
    assert main(["train", "mine.py:ready", "nres", *FAST, "--directory", "b"]) == 0
    assert main(["train", "mine:ready", "nres", *FAST, "--directory", "c"]) == 0
    assert [read(f"{d}/config.json")["problem"]["options"]["goal"] for d in "abc"] == [1, 2, 2]
    assert lines("b/metrics.jsonl") == lines("c/metrics.jsonl")


def test_float64_is_for_this_run_alone():
    assert main(["train", "cubic", "bptt", "--float64", *FAST]) == 0
    with np.load("runs/cubic-bptt/checkpoints/4.npz") as arrays:
        assert {a.dtype.itemsize for a in arrays.values() if a.dtype.kind == "f"} == {8}
    assert jnp.zeros(()).dtype == jnp.float32


def test_an_episode_count_of_zero_evaluates_nothing():
    assert main(["train", "cubic", "nres", *FAST, "--num-episodes", "0"]) == 0
    assert not Path("runs/cubic-nres/evaluation.jsonl").exists()


def test_a_directory_that_holds_a_run_is_left_alone(capsys):
    assert main(["train", "cubic", "nres", *FAST, "--directory", "a b"]) == 0
    before = {p: p.read_bytes() for p in Path("a b").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert main(["train", "cubic", "nres", *FAST, "--directory", "a b"]) == 2
    assert "unspool train --resume 'a b'" in one_line(capsys)
    assert before == {p: p.read_bytes() for p in Path("a b").rglob("*") if p.is_file()}


@pytest.mark.slow
def test_more_updates_give_the_bits_of_one_longer_run(tmp_path, monkeypatch, capsys):
    command = ["train", "mine.py:Walk", "nres", *FAST, "--log-every", "2"]
    assert main([*command, "--directory", "whole", "--num-updates", "8"]) == 0
    assert main([*command, "--directory", "parts"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "parts"]) == 2
    assert "has made its 4 updates: to go on, ask for more than 4" in one_line(capsys)
    # The problem's file is found from anywhere.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["train", "--resume", "../parts", "--num-updates", "8"]) == 0
    assert lines("../parts/metrics.jsonl") == lines("../whole/metrics.jsonl")
    final = "checkpoints/8.npz"
    assert (tmp_path / "parts" / final).read_bytes() == (tmp_path / "whole" / final).read_bytes()
    assert read("../parts/config.json")["num_updates"] == 8


def test_a_run_of_another_experiment_is_not_resumed(capsys):
    assert main(["train", "mine.py:ready", "nres", *FAST, "--directory", "a"]) == 0
    Path("mine.py").write_text(MINE.replace("goal=2.0", "goal=3.0"))
    capsys.readouterr()
    assert main(["train", "--resume", "a", "--num-updates", "9"]) == 2
    assert "its problem's goal was 2.0, and is 3.0 now" in one_line(capsys)
    Path("mine.py").write_text(MINE + "# A comment.\n")
    assert main(["train", "--resume", "a", "--num-updates", "9"]) == 2
    assert "mine.py has changed since the run in a began" in one_line(capsys)
    assert main(["train", "--resume", "a", "--num-updates", "5", "--allow-changes"]) == 0
    assert main(["train", "--resume", "a", "--num-updates", "6"]) == 0
    capsys.readouterr()
    Path("mine.py").unlink()
    assert main(["train", "--resume", "a", "--num-updates", "9"]) == 2
    assert "there is no file mine.py" in one_line(capsys)
    assert read("a/config.json")["num_updates"] == 6


def test_a_run_of_another_program_is_not_resumed(capsys):
    unspool.Run.create("a", {})
    assert main(["train", "--resume", "a"]) == 2
    assert "was not begun by `unspool train`" in one_line(capsys)


@pytest.mark.parametrize("estimator", names.estimators())
def test_every_estimator_has_defaults_to_begin_with(estimator, somewhere):
    training = unspool.build_training(settings("cubic", estimator))
    assert type(training.estimator) is names.estimators()[estimator]
    again = unspool.build_training(training.config)
    assert (again.config, again.estimator) == (training.config, training.estimator)


@pytest.mark.filterwarnings("ignore:Brax System, piplines and env:UserWarning")
@pytest.mark.parametrize("problem", names.problems())
def test_options_are_written_as_they_are_read(problem):
    """A constructor's defaults come back from a file as they were."""
    cls = names.problems()[problem]
    options = find_options(cls)
    values = {option.name: option.default for option in options}
    config = unspool.TrainConfig(
        problem=unspool.Spec(problem, values), estimator=unspool.Spec("nres")
    )
    config.write("settings.json")
    argv = ["--config", "settings.json"]
    again = parse_train_config(argv, Path(), read_base(argv)).config
    assert {name: again.problem.options[name] for name in values} == values
    assert all(option.help for option in options), "every option is explained"
    cls(**values)


def test_of_a_union_the_parts_that_can_be_typed_are_options():
    """As of `Sigma`: a number can be typed, a schedule cannot."""

    def make(sigma: extend.Sigma, limit: int | None, policy: extend.AbstractPhases | None): ...

    kinds = {option.name: option.kind for option in find_options(make)}
    assert kinds == {"sigma": float, "limit": int | None}


def test_none_can_be_asked_for_where_it_is_not_the_default(somewhere):
    argv = ["mine.py:Choosy", "nres", "--problem.rate", "-inf", "--problem.limit", "None"]
    first = unspool.build_training(settings(*argv))
    assert (first.problem.limit, first.problem.rate) == (None, -np.inf)
    first.config.write("settings.json")
    again = unspool.build_training(unspool.TrainConfig.read("settings.json"))
    assert (again.problem.limit, again.problem.rate) == (None, -np.inf)


# Gets Ctrl-C as soon as its second record is written, however fast or slow it is.
INTERRUPTED = """
import os, signal, sys
import unspool
from unspool.cli.__main__ import main
append = unspool.Run.append
def append_and_stop(run, line):
    append(run, line)
    if isinstance(line, unspool.records.MetricsLine) and line.update == 200:
        os.kill(os.getpid(), signal.SIGINT)
unspool.Run.append = append_and_stop
sys.exit(main(sys.argv[1:]))
"""


def test_a_stopped_run_goes_on_to_the_same_bits(start_program, finish):
    argv = ["train", "cubic", "nres", "--num-workers=2", "--num-episodes=2", "--log-every=100"]
    total = "--num-updates=1000"
    process = start_program("-c", INTERRUPTED, *argv, total, "--directory=stopped")
    out, err = finish(process)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    assert [line["update"] for line in lines("stopped/metrics.jsonl")] == [0, 100, 200]
    assert "unspool train --resume stopped" in out
    assert read("stopped/status.json")["status"] == "stopped"
    assert main(["train", "--resume", "stopped"]) == 0
    assert main([*argv, total, "--directory=whole"]) == 0
    assert read("stopped/status.json")["status"] == "finished"
    assert lines("stopped/metrics.jsonl") == lines("whole/metrics.jsonl")
    assert lines("stopped/evaluation.jsonl") == lines("whole/evaluation.jsonl")
    final = "checkpoints/1000.npz"
    assert Path("stopped", final).read_bytes() == Path("whole", final).read_bytes()
