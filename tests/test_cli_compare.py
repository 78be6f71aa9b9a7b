"""`unspool compare` and `unspool train --seeds`: what is typed, printed and left behind."""

from pathlib import Path

import pytest

import unspool
from support.cli import one_line
from support.cli import somewhere as somewhere
from unspool.cli.__main__ import main
from unspool.cli.compare import parse_compare_config
from unspool.cli.parts import split_words

FAST = ["--num-workers", "2", "--num-updates", "2", "--num-episodes", "2", "--num-processes", "1"]


def parsed(line: str, base: unspool.CompareConfig | None = None) -> unspool.CompareConfig:
    """The settings of a command line."""
    argv = line.split()
    words, rest = split_words(argv, len(argv))
    return parse_compare_config(words, rest, Path(), base)[0]


def options(config: unspool.CompareConfig, label: str) -> dict:
    return config.estimators[label].options


def test_an_option_is_for_all_that_take_it_and_with_a_name_for_one():
    config = parsed("mine.py:Walk nres pes bptt --num-workers 4 --window 3 --pes.window 2")
    assert list(config.estimators) == ["NRES", "PES", "BPTT"]
    assert (options(config, "NRES")["window"], options(config, "PES")["window"]) == (3, 2)
    assert options(config, "BPTT") == {"num_workers": 4}
    assert "sigma" not in options(config, "NRES"), "what is not typed is filled in later"


def test_labels_tell_apart_what_is_there_twice(capsys):
    config = parsed("cubic low=nres high=nres --low.sigma 0.01 --high.sigma 1 --sigma 3")
    assert options(config, "low") == {"sigma": 0.01} and options(config, "high") == {"sigma": 1.0}
    assert main(["compare", "cubic", "nres", "nres"]) == 2
    assert "NRES is there twice: name them, as in a=nres b=nres" in one_line(capsys)


def test_settings_of_a_file_are_gone_on_from():
    base = unspool.CompareConfig(
        problem=unspool.Spec("cubic"),
        estimators={"A": unspool.Spec("nres", {"sigma": 0.5, "window": 2})},
        learning_rates=(0.1, 0.2),
        seeds=3,
    )
    config = parsed("--a.window 3 --optimizer sgd --seeds 4", base)
    assert options(config, "A") == {"sigma": 0.5, "window": 3}
    assert (config.seeds, config.learning_rates) == (4, (0.1, 0.2))
    assert config.optimizer.name == "sgd"


def test_labels_of_a_file_and_ready_objects_have_options_too():
    base = unspool.CompareConfig(
        problem=unspool.Spec("cubic"), estimators={"truncated 2": unspool.Spec("tbptt")}
    )
    config = parsed("--truncated-2.window 2", base)
    assert options(config, "truncated 2") == {"window": 2}
    Path("ready.py").write_text("import unspool\nplain = unspool.BPTT(3)\n")
    config = parsed("cubic ready.py:plain")
    assert config.estimators == {"plain": unspool.Spec("ready.py:plain")}


def test_a_comparison_is_made_changed_and_gone_on_with(capsys):
    pytest.importorskip("matplotlib")
    command = ["compare", "mine.py:Walk", "nres", "tbptt", *FAST, "--seeds", "1", "--window", "3"]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    folder = Path("runs/compare-walk")
    assert said[-2] == f"report: {folder}/report.html" and (folder / "report.html").exists()
    assert said[-1].endswith(f"unspool compare --resume {folder}")
    assert any(line.startswith("NRES ") for line in said)
    settings = folder / "compare.toml"
    settings.write_text(settings.read_text().replace("window = 3", "window = 2", 1))
    assert main(["compare", "--resume", str(folder), "--num-processes", "1"]) == 0
    said = capsys.readouterr().out
    assert "moved, for its settings are others: runs/compare-walk/earlier/NRES-0" in said
    run = unspool.Run.open(folder / "NRES-0")
    assert run.config["estimator"]["options"]["window"] == 2


@pytest.mark.slow
def test_a_training_with_several_seeds_has_one_report():
    pytest.importorskip("matplotlib")
    few = ["--num-workers", "2", "--num-updates", "2", "--num-episodes", "2"]
    assert main(["train", "mine.py:Walk", "nres", *few, "--seed", "7", "--seeds", "2"]) == 0
    folder = Path("runs/walk-nres-seeds")
    assert sorted(path.parent.name for path in folder.glob("*/config.json")) == ["NRES-7", "NRES-8"]
    assert [record.update for record in unspool.resume_run(folder / "NRES-7", num_updates=3)] == [3]


MISTAKES = {
    "compare cubic": "name the problem and the estimators first",
    "compare cubic nres nrse": "there is no estimator 'nrse'; did you mean nres?",
    "compare cubic nres pes --windwo 3": "no option --windwo; did you mean --window?",
    "compare cubic nres pes --pse.window 3": "no option --pse.window; did you mean --pes.window?",
    "compare cubic problem=nres": "an estimator cannot be called problem: --problem. begins other",
    "compare cubic bptt --window 3": "there is no option --window",
    "compare cubic nres --learning-rates 0.1 x": "--learning-rates must be numbers, got '0.1', 'x'",
    "compare cubic nres --seeds 0": "--seeds must be an integer of at least 1, got 0",
    "compare cubic nres --num-steps 1": "num_steps",
    "compare cubic nres --num-processes 0": "--num-processes must be an integer of at least 1",
    "compare --resume nowhere": "there is no comparison in nowhere",
    "compare --config mine.py": "mine.py must end with .json, .toml, .yaml or .yml",
    "train cubic nres --seeds 0": "--seeds must be an integer of at least 1, got 0",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_that_helps(typed, capsys, somewhere):
    pytest.importorskip("matplotlib")
    assert main(typed.split()) == 2
    assert MISTAKES[typed] in one_line(capsys)
    assert not list(somewhere.glob("runs/*/*-0")), "a mistake leaves no run behind"
