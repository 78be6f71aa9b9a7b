"""The commands other than `unspool train`, and what the command line prints: help and progress."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

import unspool
from support.cli import FAST, lines, one_line, read
from support.cli import somewhere as somewhere
from unspool import _citation
from unspool._config import names
from unspool._counts import check_count
from unspool.cli.__main__ import main
from unspool.experiments import known
from unspool.experiments.base import AbstractExperiment, Entry, EvaluationPlan, sgd
from unspool.records import Details


@pytest.mark.parametrize("command", ["", "train", "report", "reproduce", "list", "cite"])
def test_help_is_printed(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: unspool " + command)


def test_help_explains_the_options_of_problem_and_estimator(capsys):
    assert main(["train", "mine.py:Walk", "gpes", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "--problem.goal FLOAT where to be, sooner or later; 100% of the loss (default" in text
    assert "--problem.start FLOAT FLOAT" in text
    assert "--window INT steps between estimates (default: a tenth of the horizon)" in text
    assert "(default: the window)" in text
    assert "--directions STR name of a class; with it, --help has its options" in text


def test_list_names_everything_exported(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in [*names.problems(), *names.estimators(), *known.experiments()]:
        assert re.search(rf"^  {re.escape(name)}: \S", text, re.MULTILINE), name
    assert "steps per estimate: 2 N W" in text


def test_list_tells_all_about_one_entry(capsys):
    assert main(["list", "nres", "lorenz"]) == 0
    text = capsys.readouterr().out
    assert "estimator nres: " in text and "\n  steps per estimate: 2 N W\n" in text
    assert "\n  --window: steps between estimates (default: a tenth of the horizon)\n" in text
    assert "problem lorenz: " in text and "\n  begin with: unspool reproduce lorenz\n" in text


def test_tables_are_drawn_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["list", "estimators"]) == 0
    assert "│ nres" in capsys.readouterr().out


def test_citations_are_complete_and_whole(capsys):
    for cls in [*names.estimators().values(), *names.problems().values()]:
        assert set(_citation.references(cls)) <= set(_citation.bibtex())
    assert all(_citation.references(cls) for cls in names.estimators().values())
    for key, entry in _citation.bibtex().items():
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


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_script_completes_commands_and_options(shell, capsys):
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert "reproduce" in script and "checkpoint-every" in script


def test_help_of_a_training_fits_a_screen(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 50
    said = " ".join(text.replace("│", "").split())
    assert "--learning-rate FLOAT its step size, above 0 (default: 0.01)" in said
    assert main(["train", "lorenz", "bptt", "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 40 and "--b1" not in text
    assert "Further options, those of the training, stand in unspool train --help" in text
    assert main(["train", "lorenz", "nres", "--optimizer", "adamw", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "--weight-decay FLOAT Strength of the weight decay regularization (default" in text


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
        return Details()


def test_an_experiment_is_reproduced_once(monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(known, "experiments", lambda: {"tiny": Tiny})
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


def test_an_experiment_of_ones_own_is_named_by_its_file(somewhere, capsys):
    pytest.importorskip("matplotlib")
    Path("own.py").write_text("from test_cli import Tiny\n")
    assert main(["reproduce", "own.py:Tiny", "--directory", "own"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "own/report.html"


def test_importing_the_library_imports_nothing_of_the_extra():
    check = "import sys, unspool; sys.exit(bool({'tyro', 'rich', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_help_and_the_first_words_of_training_do_not_wait_for_jax():
    lazy = "from unspool.cli.__main__ import main; assert main(['--help']) == 0"
    check = f"import sys; {lazy}; sys.exit(bool({{'jax', 'numpy', 'tyro'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0
    hidden = "import sys; sys.modules['jax'] = None; from unspool.cli.__main__ import main; "
    train = hidden + "main(['train', 'lorenz', 'nres'])"
    told = subprocess.run([sys.executable, "-c", train], capture_output=True, text=True)
    assert told.stdout == "loading   JAX and lorenz\n"


def test_a_closed_pipe_is_no_error_and_ends_no_training(start_program, finish):
    process = start_program("-m", "unspool.cli", "train", "cubic", "nres", *FAST)
    process.stdout.close()
    process.stdout = None
    _, err = finish(process)
    assert (process.returncode, err) == (0, "")
    assert read("runs/cubic-nres/status.json")["status"] == "finished"
