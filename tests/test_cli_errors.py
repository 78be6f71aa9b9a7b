"""What the command line says to each mistake: one line that helps."""

import sys
from pathlib import Path

import pytest

from support.cli import FAST, MINE, one_line, read
from support.cli import somewhere as somewhere
from unspool.cli.__main__ import main

MISTAKES = {
    "trian": "there is no command 'trian'; did you mean train?",
    "train lorens nres": "there is no problem 'lorens'; did you mean lorenz?",
    "train cubic nrs": "there is no estimator 'nrs'; did you mean nres?",
    "train cubic xyz": "there is no estimator 'xyz'; there are: artbp, bptt, controlled-gpes",
    "train cubic nres --optimizer adamm": "no optimizer 'adamm'; did you mean adam?",
    "train cubic nres --num-worker 3": "no option --num-worker; did you mean --num-workers?",
    "train cubic nres --problem.horizn 3": "did you mean --problem.horizon?",
    "train cubic nres 7": "unexpected argument '7'",
    "train cubic": "name the problem and the estimator first",
    "train --seed 1 cubic nres": "name the problem and the estimator first",
    "train cubic nres --num-workers x": "--num-workers must be an integer, got 'x'",
    "train cubic nres --num-workers 0": "num_workers must be an integer of at least 1, got 0",
    "train cubic nres --window 0": "window must be an integer of at least 1, got 0",
    "train cubic gpes --window 10 --period 3": "the nearest legal periods are 2 and 5",
    "train cubic nres --sigma 0": "sigma must be greater than 0 and finite, got 0.0",
    "train cubic nres --sigma -1e-3": "sigma must be greater than 0 and finite, got -0.001",
    "train cubic nres --sigma much": "--sigma must be a number, got 'much'",
    "train cubic nres --num-updates 0": "--num-updates must be an integer of at least 1, got 0",
    "train cubic nres --log-every 0": "--log-every must be an integer of at least 1, got 0",
    "train cubic nres --num-episodes -1": "--num-episodes must be an integer of at least 0, got -1",
    "train cubic nres --learning-rate nan": "--learning-rate must be a finite number above 0",
    "train cubic nres --seed -1": "--seed must be an integer of at least 0, got -1",
    "train cubic nres --problem.horizon 2.5": "--problem.horizon must be an integer, got '2.5'",
    "train cubic nres --problem.horizon 0": "horizon must be an integer of at least 1, got 0",
    "train lorenz nres --problem.start 1 2": "--problem.start takes 3 values",
    "train lorenz nres --problem.start 1 2 x": "must be 3 numbers, got '1', '2', 'x'",
    "train cubic nres --window wide": "--window must be an integer, got 'wide'",
    "train cubic nres --window --sigma 1": "--window takes one value",
    "train mine.py:Walk nres --problem.no-squard": "did you mean --problem.no-squared?",
    "train mine.py:Choosy nres": "missing: --problem.rate FLOAT",
    "train mine.py:Choosy nres --problem.end x": "--problem.end must be one of soft, hard, got 'x'",
    "train cubic nres --directory mine.py": "cannot write the run directory mine.py",
    "train cubic nres --directory .": "the directory . already holds mine.py",
    "train other.py:X nres": "there is no file other.py; there are: mine.py",
    "train far/other.py:X nres": "there is no file other.py in",
    "train no.module:X nres": "there is no module no.module",
    "train mine.py nres": "mine.py holds Walk, ready, Vector",
    "train mine.py:Wolk nres": "there is no 'Wolk' in mine.py; did you mean Walk?",
    "train mine:Wolk nres": "there is no 'Wolk' in mine; did you mean Walk?",
    "train mine.py:Plain nres": "mine.py:Plain is a class, and must be a subclass or an instance",
    "train mine.py:number nres": "mine.py:number is of type int, and must be a subclass",
    "train mine.py:Unfinished nres": "mine.py:Unfinished lacks init_params, init_state, step",
    "train mine.py:Needy nres": "mine.py:Needy needs table, which the command line cannot give",
    "train mine.py:Vector nres": "must be a real scalar of shape (), got float32[2]",
    "train mine.py:Shrinking nres": "state must keep its shape and type",
    "train mine.py:Undefined nres": "params must be finite, got 1 of 2 entries NaN",
    "train mine.py:Clumsy nres": "add got incompatible shapes",
    "train mine.py:Fractional nres": "horizon must be an integer of at least 1, got 2.5",
    "train cubic nres --directions round": "no directions 'round'; there are: automatic, gaussian",
    "train cubic nres --directions orthogonal": "missing: --directions.size INT",
    "train cubic nres --directions.size 2": "there is no option --directions.size",
    "train cubic nres --b3 1": "there is no option --b3; did you mean --b",
    "train cubic nres --b1 x": "--b1 must be a number, got 'x'",
    "train cubic nres --phases stagered": "there are no phases 'stagered'; did you mean staggered?",
    "train cubic nres --schedule cosin": "there is no schedule 'cosin'; did you mean cosine?",
    "train cubic nres --clip-norm 0": "--clip-norm must be a finite number above 0, got 0.0",
    "train cubic mine.py:Walk": "mine.py:Walk is a class, and must be a subclass or an instance of "
    "unspool.AbstractEstimator",
    "train cubic nres --optimizer mine.py:number": "must be an optimizer of optax, or a function",
    "train --config no.toml": "cannot read no.toml: No such file or directory",
    "train --config mine.py": "mine.py must end with .json, .toml, .yaml or .yml",
    "--print-completion csh": "--print-completion must be one of bash, fish, zsh, got csh",
    "train --resume": "--resume takes one value",
    "train --resume nowhere": "there is no run in nowhere",
    "report": "missing: RUN ..., runs, or directories of runs",
    "report nowhere": "nowhere is not a directory",
    "list problem": "there is nothing called 'problem' to list; did you mean problems?",
    "list nress": "there is nothing called 'nress' to list; did you mean nres?",
    "cite nress": "there is no name 'nress'; did you mean nres?",
    "reproduce mine.py:Walk": "mine.py:Walk is a class, and must be a subclass of unspool.exp",
    "reproduce nothing": "there is no experiment 'nothing'",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_that_helps(typed, capsys, somewhere):
    if typed.startswith("report"):
        pytest.importorskip("matplotlib")
    assert main(typed.split()) == 2
    assert MISTAKES[typed] in one_line(capsys)
    assert not (somewhere / "runs").exists(), "a mistake leaves no run behind"


@pytest.mark.parametrize(
    "text, said",
    [
        ("def f(:\n", "broken.py:1: SyntaxError: invalid syntax"),
        ("x = 1\n\nraise RuntimeError('boom\\nand more')\n", "broken.py:3: RuntimeError while"),
        ("import nothing_like_it\n", "No module named 'nothing_like_it'"),
        ("x = 1\n", "there is no 'X' in broken.py, and no problem at all"),
        ("raise SystemExit(3)\n", "broken.py:1: SystemExit while importing broken.py: 3"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text, said, capsys):
    Path("broken.py").write_text(text)
    assert main(["train", "broken.py:X", "nres"]) == 2
    assert said in one_line(capsys)


def test_an_error_in_a_step_names_the_line_of_the_user(capsys):
    number = MINE.splitlines().index(
        "        return state + jnp.ones(3), jnp.sum(state)  # the clumsy line"
    )
    main(["train", "mine.py:Clumsy", "nres"])
    assert f"unspool: mine.py:{number + 1}: TypeError in the problem: add got" in one_line(capsys)


def test_the_traceback_is_there_for_those_who_ask(monkeypatch):
    monkeypatch.setenv("UNSPOOL_TRACEBACK", "1")
    with pytest.raises(TypeError, match="incompatible shapes"):
        main(["train", "mine.py:Clumsy", "nres"])


def test_a_run_that_breaks_down_exits_1_and_says_where_it_is(capsys):
    assert main(["train", "mine.py:Exploding", "nres", *FAST]) == 1
    assert "the run is in runs/exploding-nres" in one_line(capsys)
    assert read("runs/exploding-nres/status.json")["status"] == "failed"


def test_a_mistake_is_one_plain_line_on_a_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["train", "cubic", "nres", "--sigma", "much"]) == 2
    assert one_line(capsys) == "unspool: --sigma must be a number, got 'much'\n"


def test_a_missing_extra_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["list"]) == 2
    assert "pip install 'unspool[cli]'" in one_line(capsys)
