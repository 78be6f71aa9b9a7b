"""The command line: what each command does, and what it says to each mistake."""

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from unspool import _citation
from unspool._counts import check_count
from unspool.cli import choices
from unspool.cli.__main__ import main
from unspool.cli.job import build_job
from unspool.cli.mistakes import sentence_in
from unspool.cli.options import as_arguments, find_options
from unspool.cli.options import read as read_options
from unspool.cli.progress import show_progress
from unspool.experiments.base import AbstractExperiment, Entry, EvaluationPlan, sgd

MINE = '''
from typing import Literal

import jax.numpy as jnp
from unspool import AbstractProblem, LocalEngine
from unspool.problems import Cubic


class Walk(AbstractProblem):
    """A walk to a goal.

    Args:
        horizon: steps of an episode.
        goal (float): where to be,
            sooner or later; 100% of the loss.
    """

    horizon: int = 6
    goal: float = 1.0
    start: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, ...] = (1.0,)
    squared: bool = True
    name: str = "walk"
    limit: int | None = None

    def init_params(self, *, key):
        return jnp.zeros(2)

    def init_state(self, params, *, key):
        return jnp.array(self.start)

    def step(self, params, state, t, *, key):
        state = state + params
        return state, jnp.mean((state - self.goal) ** 2) * self.gains[0]


ready = Walk(horizon=4, goal=2.0)
number = 3


class Plain:
    pass


class Vector(Walk):
    def step(self, params, state, t, *, key):
        return state, (state - self.goal) ** 2


class Shrinking(Walk):
    def step(self, params, state, t, *, key):
        return state[:1], jnp.sum(state)


class Undefined(Walk):
    def init_params(self, *, key):
        return jnp.array([0.0, jnp.nan])


class Clumsy(Walk):
    def step(self, params, state, t, *, key):
        return state + jnp.ones(3), jnp.sum(state)  # the clumsy line


class Fractional(Walk):
    horizon: int = 2.5


class Exploding(Walk):
    def step(self, params, state, t, *, key):
        return state, jnp.sum(state) / 0.0


class Unfinished(AbstractProblem):
    horizon: int = 3


class Choosy(Walk):
    end: Literal["soft", "hard"] = "soft"
    limit: int | None = 5
    rate: float

    def __init__(self, rate: float, end: Literal["soft", "hard"] = "soft", limit: int | None = 5):
        self.rate, self.end, self.limit = rate, end, limit


class Needy(Walk):
    table: object

    def __init__(self, table):
        self.table = table
'''

FAST = ["--num-workers", "2", "--num-updates", "4", "--num-episodes", "2"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """A directory of one's own that holds `mine.py`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def read(path) -> dict:
    return json.loads(Path(path).read_text())


def lines(path) -> list[dict]:
    """The lines of a record without what depends on the machine's speed."""
    parsed = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in parsed]


def one_line(capsys) -> str:
    """What stands on stderr, which must be a single line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.startswith("unspool: "), text
    return text


MISTAKES = {
    "trian": "there is no command 'trian'; did you mean train?",
    "train lorens nres": "there is no problem 'lorens'; did you mean lorenz?",
    "train cubic nrs": "there is no estimator 'nrs'; did you mean nres?",
    "train cubic xyz": "there is no estimator 'xyz'; there are: bptt, controlled-gpes",
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
    "train cubic nres --seed -1": "--seed must be from 0 to 4294967295, got -1",
    "train cubic nres --problem.horizon 2.5": "--problem.horizon must be an integer, got '2.5'",
    "train cubic nres --problem.horizon 0": "horizon must be an integer of at least 1, got 0",
    "train lorenz nres --problem.start 1 2": "--problem.start takes 3 values",
    "train lorenz nres --problem.start 1 2 x": "must be float, float, float, got '1', '2', 'x'",
    "train cubic nres --window wide": "--window must be {None}|INT, got 'wide'",
    "train cubic nres --window --sigma 1": "--window takes one value",
    "train mine.py:Walk nres --problem.no-squard": "did you mean --problem.no-squared?",
    "train mine.py:Choosy nres": "missing: --problem.rate FLOAT (required)",
    "train mine.py:Choosy nres --problem.end x": "Expected one of ('soft', 'hard')",
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
    "train --resume": "--resume takes one value",
    "train --resume nowhere": "there is no run in nowhere",
    "report": "name at least one RUN",
    "report nowhere": "nowhere is not a directory",
    "list problem": "there is no kind 'problem'; did you mean problems?",
    "cite nress": "there is no name 'nress'; did you mean nres?",
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
        "options": {"num_workers": 2, "window": 1, "sigma": 0.2},
        "estimand": "smoothed gradient",
    }
    assert config["parameter_names"] == ["params[0]", "params[1]"]
    assert [line["update"] for line in lines("runs/walk-nres/evaluation.jsonl")] == [0, 4]
    assert [line["update"] for line in lines("runs/walk-nres/metrics.jsonl")] == [0, 1, 2, 3, 4]
    assert read("runs/walk-nres/status.json")["status"] == "finished"
    said = capsys.readouterr().out
    assert "estimator NRES: num_workers 2, window 1, sigma 0.2" in said
    assert "unspool report runs/walk-nres" in said


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
    Path("mine.py").unlink()
    assert main(["train", "--resume", "a", "--num-updates", "9"]) == 2
    assert "there is no file mine.py" in one_line(capsys)
    assert read("a/config.json")["num_updates"] == 4


def test_a_run_of_another_program_is_not_resumed(capsys):
    unspool.Run.create("a", {})
    assert main(["train", "--resume", "a"]) == 2
    assert "was not begun by `unspool train`" in one_line(capsys)


@pytest.mark.parametrize("estimator", choices.estimators())
def test_every_estimator_has_defaults_to_begin_with(estimator, somewhere):
    job = build_job(["cubic", estimator], somewhere)
    again = build_job(job.words, somewhere)
    assert again.words == job.words
    assert type(job.estimator) is choices.estimators()[estimator]


@pytest.mark.filterwarnings("ignore:Brax System, piplines and env:UserWarning")
@pytest.mark.parametrize("problem", choices.problems())
def test_options_are_written_as_they_are_read(problem):
    cls = choices.problems()[problem]
    options = find_options(cls)
    values = {option.name: option.default for option in options}
    words = as_arguments(options, values, "problem.")
    assert read_options(words, prog="", description="", problem=options) == {"problem": values}
    assert all(option.help for option in options), "every option is explained"
    cls(**values)


def test_none_can_be_asked_for_where_it_is_not_the_default(somewhere):
    words = ["mine.py:Choosy", "nres", "--problem.rate", "-inf", "--problem.limit", "None"]
    job = build_job(words, somewhere)
    assert (job.problem.limit, job.problem.rate) == (None, -np.inf)
    again = build_job(job.words, somewhere)
    assert (again.problem.limit, again.problem.rate, again.words) == (None, -np.inf, job.words)


BOXES = {
    "with lines": """\
╭─ Value error ───────────────────────────╮
│ Error parsing --a-b: could not convert  │
│ string to float: 'x----y'               │
│ ─────────────────────────────────────── │
│ For full helptext, see me --help        │
╰─────────────────────────────────────────╯
""",
    "in ASCII": """\
 Value error
 ------------------------------------------
  Error parsing --a-b: could not convert
  string to float: 'x----y'
  ------------------------------------------
  For full helptext, see me --help

""",
    "in colour": """\
\x1b[31m╭─ \x1b[0mValue error\x1b[31m ─────────────╮\x1b[0m
\x1b[31m│\x1b[0m \x1b[1;91mError parsing --a-b:\x1b[0m could not convert  \x1b[31m│\x1b[0m
\x1b[31m│\x1b[0m string to float: 'x----y'  \x1b[31m│\x1b[0m
\x1b[31m│\x1b[0m                            \x1b[31m│\x1b[0m
\x1b[31m│\x1b[0m Got errors:                \x1b[31m│\x1b[0m
""",
}


@pytest.mark.parametrize("box", BOXES)
def test_a_box_is_read_as_one_sentence(box):
    assert sentence_in(BOXES[box]) == "--a-b must be a number, got 'x----y'"


def test_a_sentence_it_does_not_know_is_left_as_it_is():
    assert sentence_in("╭─ New ─╮\n│ Not │\n│ yet. │\n╰───────╯\n") == "Not yet"


def test_a_mistake_is_one_plain_line_on_a_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["train", "cubic", "nres", "--sigma", "much"]) == 2
    assert one_line(capsys) == "unspool: --sigma must be a number, got 'much'\n"


@pytest.mark.parametrize("command", ["", "train", "report", "reproduce", "list", "cite"])
def test_help_is_printed(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: unspool " + command)


def test_help_explains_the_options_of_problem_and_estimator(capsys):
    assert main(["train", "mine.py:Walk", "gpes", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "--problem.goal FLOAT where to be, sooner or later; 100% of the loss (default" in text
    assert "--problem.start FLOAT FLOAT" in text
    assert "--window {None}|INT steps between estimates (default: a tenth of the horizon)" in text
    assert "(default: the window)" in text
    assert "--learning-rate FLOAT its step size, above 0 (default: 0.01)" in text


def test_list_names_everything_exported(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in [*choices.problems(), *choices.estimators(), *choices.experiments()]:
        assert re.search(rf"^  {re.escape(name)}: \S", text, re.MULTILINE), name
    assert "steps per estimate: 2 N W" in text


def test_tables_are_drawn_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["list", "estimators"]) == 0
    assert "│ nres" in capsys.readouterr().out


def test_citations_are_complete_and_whole(capsys):
    for cls in [*choices.estimators().values(), *choices.problems().values()]:
        assert set(_citation.references(cls)) <= set(_citation.BIBTEX)
    assert all(_citation.references(cls) for cls in choices.estimators().values())
    for key, entry in _citation.BIBTEX.items():
        assert re.match(rf"@\w+{{{key},\n", entry)
        assert entry.count("{") == entry.count("}")
        assert all(field in entry for field in ("author = {", "title = {", "year = {"))
    assert main(["cite", "nres", "gpes", "lorenz", "toy-regression"]) == 0
    printed = re.findall(r"^@\w+{(\w+),", capsys.readouterr().out, re.MULTILINE)
    assert printed == ["unspool", "li2023", "vicol2021"]
    with pytest.raises(ValueError, match="there is no reference 'x'"):
        _citation.cite("x")


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unspool ")


def test_a_missing_extra_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["list"]) == 2
    assert "pip install 'unspool[cli]'" in one_line(capsys)


def test_progress_is_lines_when_nobody_watches(capsys, monkeypatch):
    # A tenth of a second for every look at the clock; half a minute would be told of too.
    clock = itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 10)
    with show_progress(100, 0, "updates") as show:
        for count in range(1, 101):
            show(count, "loss 1")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 10 and said[-1].startswith("100/100 updates, ")


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with show_progress(4, 2, "updates") as show:
        show(3, "loss 1")
        show(4, "loss 0.5")
    assert "4/4 updates" in re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)


@dataclasses.dataclass(frozen=True)
class Tiny(AbstractExperiment):
    """An experiment of one short training.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of the training.
    """

    name: ClassVar[str] = "tiny"
    title: ClassVar[str] = "Tiny"
    source: ClassVar[str] = "li2023"
    references: ClassVar[tuple[str, ...]] = ("li2023",)
    parameter_names: ClassVar[tuple[str, ...]] = ("level", "slope")

    seeds: int = 1
    num_updates: int = 2

    def __post_init__(self):
        check_count(seeds=self.seeds, num_updates=self.num_updates)

    @classmethod
    def at_paper_size(cls):
        return cls(seeds=2, num_updates=3)

    def entries(self):
        problem = unspool.problems.Cubic()
        judge = EvaluationPlan(problem, self.num_updates)
        return (Entry("BPTT", problem, unspool.BPTT(1), sgd(0.1), self.num_updates, 1, judge),)

    def details(self):
        return {}


def test_an_experiment_is_reproduced_once(monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(choices, "experiments", lambda: {"tiny": Tiny})
    command = ["reproduce", "tiny", "--num-processes", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs/tiny/report.html"
    before = lines("runs/tiny/BPTT-101/metrics.jsonl")
    assert main([*command, "--directory", "runs/tiny"]) == 0
    assert lines("runs/tiny/BPTT-101/metrics.jsonl") == before
    assert main([*command, "--num-updates", "3"]) == 2
    assert "runs/tiny" in one_line(capsys)
    assert main([*command, "--seeds", "0"]) == 2
    assert "seeds must be an integer of at least 1, got 0" in one_line(capsys)
    assert main([*command[:2], "--num-processes", "0"]) == 2
    assert "--num-processes must be an integer of at least 1, got 0" in one_line(capsys)
    paper = ["--paper", "--seeds", "1", "--directory", "paper"]
    assert main([*command, *paper]) == 0
    assert os.listdir("paper/BPTT-101") and not Path("paper/BPTT-103").exists()
    assert lines("paper/BPTT-101/metrics.jsonl")[-1]["update"] == 3
    capsys.readouterr()
    assert main(["cite", "tiny"]) == 0
    assert "@inproceedings{li2023," in capsys.readouterr().out


def test_importing_the_library_imports_nothing_of_the_extra():
    check = "import sys, unspool; sys.exit(bool({'tyro', 'rich', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_a_broken_pipe_is_no_error(start_program):
    process = start_program("-m", "unspool.cli", "--help")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()


# Gets Ctrl-C as soon as its second record is written, however fast or slow it is.
INTERRUPTED = """
import os, signal, sys
import unspool
from unspool.cli.__main__ import main
append = unspool.Run.append
def append_and_stop(run, name, line):
    append(run, name, line)
    if name == "metrics" and line["update"] == 200:
        os.kill(os.getpid(), signal.SIGINT)
unspool.Run.append = append_and_stop
sys.exit(main(sys.argv[1:]))
"""


def test_a_stopped_run_goes_on_to_the_same_bits(start_program, finish):
    words = ["train", "cubic", "nres", "--num-workers=2", "--num-episodes=2", "--log-every=100"]
    total = "--num-updates=1000"
    process = start_program("-c", INTERRUPTED, *words, total, "--directory=stopped")
    out, err = finish(process)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    assert [line["update"] for line in lines("stopped/metrics.jsonl")] == [0, 100, 200]
    assert "unspool train --resume stopped" in out
    assert read("stopped/status.json")["status"] == "stopped"
    assert main(["train", "--resume", "stopped"]) == 0
    assert main([*words, total, "--directory=whole"]) == 0
    assert read("stopped/status.json")["status"] == "finished"
    assert lines("stopped/metrics.jsonl") == lines("whole/metrics.jsonl")
    assert lines("stopped/evaluation.jsonl") == lines("whole/evaluation.jsonl")
    final = "checkpoints/1000.npz"
    assert Path("stopped", final).read_bytes() == Path("whole", final).read_bytes()
