"""Comparisons on a problem of one's own: what is chosen, kept, moved aside, extended, refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import CompareConfig, ConfigError, RunError, Spec, TrainConfig
from unspool._statistics.summarize import final_value
from unspool.experiments import ExperimentError
from unspool.experiments.own.comparison import ComparisonRow
from unspool.experiments.own.rates import RateChoice
from unspool.records import read_run, read_studies

OWN = '''
import jax
import jax.numpy as jnp
import optax
import unspool


class Walk(unspool.AbstractProblem):
    """A noisy walk to a goal."""

    horizon: int = 4
    goal: float = 1.0

    def init_params(self, *, key):
        return {"pace": jnp.array(0.0)}

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        state = state + params["pace"] + 0.01 * jax.random.normal(key)
        return state, (state - self.goal) ** 2


class Broken(Walk):
    def step(self, params, state, t, *, key):
        return state, params["peace"]


ready = optax.sgd(0.1)
'''
ESTIMATORS = {
    "NRES": Spec("nres", {"num_workers": 2, "window": 2}),
    "BPTT": Spec("bptt"),
    "truncated 2": Spec("tbptt", {"num_workers": 2, "window": 2}),
}
TWO = {label: ESTIMATORS[label] for label in ("BPTT", "truncated 2")}
ONE = {"estimators": {"BPTT": Spec("bptt")}, "seeds": 1}
FAST = {"num_updates": 6, "log_every": 2, "evaluate_every": 2, "num_episodes": 2}


def settings(**changes) -> CompareConfig:
    """The settings of a short comparison of two estimators with one rate."""
    fast = FAST | {"problem": Spec("own.py:Walk"), "estimators": TWO, "seeds": 2}
    return CompareConfig(**fast | {"optimizer": Spec("sgd")} | changes)


RATES = {"learning_rates": (0.05, 1e30), "selection_seeds": 1}
EQUAL_WORK = RATES | {"num_updates": None, "num_steps": 43}
"""No multiple of the 8, 4 and 4 steps that an update takes."""


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory):
    """A directory with the user's file, which is the current one."""
    path = tmp_path_factory.mktemp("own")
    (path / "own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def whole(here):
    """A comparison that ran undisturbed, and what it told on the way."""
    told = []
    config = settings(estimators=ESTIMATORS, **EQUAL_WORK)
    return unspool.compare(config, "whole", num_processes=1, on_progress=told.append), told


@pytest.fixture
def small(here, tmp_path):
    """A copy of a comparison of two estimators, which can be changed."""
    if not Path("small").exists():
        unspool.compare(settings(), "small", num_processes=1)
    return Path(shutil.copytree("small", here / tmp_path.name))


def files(directory) -> dict[str, list]:
    """What is in the records of all runs below a directory, but for the seconds."""
    found = {}
    for path in sorted(Path(directory).rglob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line.pop("seconds", None)
        found[str(path.relative_to(directory))] = lines
    return found


def resume(directory, **options) -> unspool.Comparison:
    return unspool.resume_comparison(directory, num_processes=1, **options)


def test_each_estimator_is_compared_with_its_own_rate(whole):
    comparison, told = whole
    assert sorted(comparison.rows) == sorted(ESTIMATORS)
    means = [row.mean for row in comparison.rows.values()]
    assert means == sorted(means) and all(mean < 1.0 for mean in means)
    for label, row in comparison.rows.items():
        runs = [read_run(path) for path in row.runs]
        assert [run.path.name for run in runs] == [f"{label.replace(' ', '-')}-{n}" for n in (0, 1)]
        assert [run.config.seed for run in runs] == [0, 1] and row.learning_rate == 0.05
        assert row.losses == tuple(final_value(run.evaluation.loss) for run in runs)
        assert row.interval.low < row.mean < row.interval.high
    assert str(comparison).splitlines()[0].split()[:3] == ["estimator", "learning", "rate"]
    assert repr(comparison) == str(comparison)
    assert told[-1].done == told[-1].total == {now.total for now in told}.pop()


@pytest.mark.slow
def test_processes_side_by_side_give_the_same_bits(whole):
    config = settings(estimators=ESTIMATORS, **EQUAL_WORK)
    unspool.compare(config, "aside", num_processes=2)
    assert files("aside") == files("whole")


def test_steps_are_equal(whole):
    for label, row in whole[0].rows.items():
        for steps, path in zip(row.steps, row.runs, strict=True):
            found = read_run(path).metrics
            each = (found.steps[-1] - found.steps[-2]) / (found.update[-1] - found.update[-2])
            assert steps == found.steps[-1] + found.warmup_steps[-1]
            assert 43 - each < steps <= 43, label


def test_seeds_of_the_choice_are_never_shown(whole):
    (shown,), (chosen,) = read_studies([Path("whole")]), read_studies([Path("whole/rates")])
    seeds = [{run.config.seed for run in study.runs} for study in (shown, chosen)]
    assert seeds == [{0, 1}, {1000000000}]
    assert shown.labels == ("BPTT", "NRES", "truncated 2")
    assert set(chosen.labels) == {f"{x} {rate}" for x in ESTIMATORS for rate in ("0.05", "1e+30")}
    with pytest.raises(ValueError, match="seeds must be an integer of at most 1, got 2"):
        settings(first_seed=999_999_999)


def test_the_page_tells_how_it_was_made(whole):
    page = whole[0].page.read_text()
    for text in (
        "Comparison of NRES, BPTT and truncated 2 on Walk",
        "as many updates as fit into 43 problem steps",
        "The rate chosen for NRES, 0.05, is at the edge of the grid: a lower one may be better.",
        "final evaluation loss against learning rate",
        "against all problem steps",
        "against training time",
    ):
        assert text in page
    assert "1000000000" not in page


def test_a_rate_that_diverges_is_not_chosen():
    losses = np.array([[3.0, 3.0], [2.0, 2.0], [0.0, np.inf]])
    choice = RateChoice("NRES", (0.1, 0.2, 0.3), losses)
    assert choice.rate == 0.2 and choice.cautions == []
    # Without the runs that diverged, the highest rate would be the best.
    assert np.argmin(np.mean(np.ma.masked_invalid(losses), axis=1)) == 2
    lost = RateChoice("NRES", (0.1, 0.2), np.full((2, 2), np.inf))
    assert lost.rate == 0.1 and lost.cautions == ["NRES diverged with every learning rate."]
    some = RateChoice("NRES", (0.1, 0.2), np.array([[3.0, np.inf], [2.0, np.inf]]))
    assert some.rate == 0.2


def test_labels_whose_runs_diverge_come_last():
    row = lambda *losses: ComparisonRow(0.1, losses, (1, 1), (1.0, 1.0), ())
    assert row(1.0, np.nan).mean == 1.0 and row(1.0, np.nan).num_diverged == 1
    rows = {"good": row(2.0, 3.0), "lucky": row(1.0, np.nan)}
    text = str(unspool.Comparison(rows, Path("page.html")))
    assert "1 of 2 runs of lucky diverged, and are left out" in text


class Interrupt(BaseException):
    """What Ctrl-C is, without stopping pytest."""


@pytest.mark.parametrize("after", [slow(1), slow(7), 15])
def test_an_interrupted_comparison_goes_on_to_the_same_bits(whole, here, tmp_path, after):
    """Interrupted while rates are chosen, and in the runs that are shown."""
    told, directory = [], here / tmp_path.name

    def interrupt(now):
        told.append(now)
        if len(told) > after:
            raise Interrupt

    config = settings(estimators={"BPTT": Spec("bptt")}, **EQUAL_WORK)
    with pytest.raises(Interrupt):
        unspool.compare(config, directory, num_processes=1, on_progress=interrupt)
    assert not (directory / "report.html").exists()
    resume(directory)
    expected, found = files("whole"), files(directory)
    assert len(found) == 8 and found == {name: expected[name] for name in found}


def test_an_evaluation_that_was_not_come_to_is_made_up_for(small):
    """As when a process is killed between the last checkpoint and the evaluation there."""
    whole = files(small)
    file = small / "BPTT-0" / "evaluation.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    (small / "BPTT-0" / "status.json").write_text('{"format": 1, "status": "running"}')
    assert files(small) != whole
    resume(small)
    assert files(small) == whole
    assert read_run(small / "BPTT-0").status.state == "finished"


def test_a_run_is_one_of_train_run(small):
    config = TrainConfig.read(small / "BPTT-1" / "config.json")
    assert config.seed == 1 and config.label == "BPTT"
    list(unspool.train_run(config, small / "alone"))
    found = files(small)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        assert found[f"alone/{name}"] == found[f"BPTT-1/{name}"]
    assert [x.update for x in unspool.resume_run(small / "alone", num_updates=8)] == [8]


def test_runs_of_other_settings_move_aside_and_come_back(small):
    before, file = files(small), small / "compare.toml"
    text = file.read_text()
    file.write_text(text.replace("window = 2", "window = 1"))
    comparison = resume(small)
    moved = [small / "earlier" / f"truncated-2-{seed}-1" for seed in (0, 1)]
    assert list(comparison.earlier) == moved and str(moved[0]) in str(comparison)
    after = files(small)
    assert after["earlier/truncated-2-0-1/metrics.jsonl"] == before["truncated-2-0/metrics.jsonl"]
    assert after["truncated-2-0/metrics.jsonl"] != before["truncated-2-0/metrics.jsonl"]
    assert after["BPTT-0/metrics.jsonl"] == before["BPTT-0/metrics.jsonl"]
    assert TrainConfig.read(moved[0] / "config.json").problem == Spec("own.py:Walk", {
        "horizon": 4, "goal": 1.0,
    })  # fmt: skip
    # One seed less and the old window: what is there is neither begun anew nor mixed.
    file.write_text(text.replace("seeds = 2", "seeds = 1"))
    told = []
    comparison = resume(small, on_progress=told.append)
    assert not told and len(comparison.rows["BPTT"].losses) == 1
    assert {path.name for path in comparison.earlier} == {
        "BPTT-1-1", "truncated-2-0-2", "truncated-2-1-2",
    }  # fmt: skip
    again = files(small)
    assert again["truncated-2-0/metrics.jsonl"] == before["truncated-2-0/metrics.jsonl"]


def test_a_higher_limit_extends_and_a_lower_one_begins_anew(small):
    before, one = files(small), {"estimators": {"BPTT": Spec("bptt")}}
    comparison = unspool.compare(settings(num_updates=8, **one), small, num_processes=1)
    after = files(small)
    for name in ("BPTT-0/metrics.jsonl", "BPTT-1/evaluation.jsonl"):
        assert after[name][:-1] == before[name] and after[name][-1]["update"] == 8
    # An estimator that is no longer named is out of the way, and comes back.
    assert {path.name for path in comparison.earlier} == {"truncated-2-0-1", "truncated-2-1-1"}
    assert TrainConfig.read(small / "BPTT-0" / "config.json").num_updates == 8
    comparison = unspool.compare(settings(), small, num_processes=1)
    assert {path.name for path in comparison.earlier} == {"BPTT-0-1", "BPTT-1-1"}
    assert files(small) | before == files(small)


def test_seconds_end_a_run_at_its_first_record(here, tmp_path):
    config = settings(**ONE, num_updates=None, evaluate_every=None, seconds=1e-9)
    directory, told = here / tmp_path.name, []
    comparison = unspool.compare(config, directory, num_processes=1, on_progress=told.append)
    page = comparison.page.read_text()
    assert "<h1>BPTT on Walk</h1>" in page and not (directory / "rates").exists()
    assert "Each run ends after 1e-09 seconds of training." in page
    assert told[-1].done == told[-1].total
    for name, lines in files(directory).items():
        assert [line["update"] for line in lines] == [0, 2], name
    assert unspool.Run.open(directory / "BPTT-0").checkpoints == [0, 2]
    with pytest.raises(ConfigError, match="has been trained for .* of 1e-09 seconds"):
        list(unspool.resume_run(directory / "BPTT-0"))
    # Whatever comes first: there is time enough for six updates.
    longer = {"seconds": 1e3, "num_updates": 6, "evaluate_every": None}
    config = settings(**ONE, **longer)
    comparison = unspool.compare(config, directory, num_processes=1)
    assert not comparison.earlier
    assert [x["update"] for x in files(directory)["BPTT-0/metrics.jsonl"]] == [0, 2, 4, 6]


def test_a_changed_file_is_refused_and_nothing_is_touched(small):
    own = Path("own.py")
    held = lambda: {x: x.read_bytes() for x in small.rglob("*") if x.is_file()}
    before = held()
    try:
        own.write_text(OWN + "\n# Other words.\n")
        with pytest.raises(ConfigError, match="own.py has changed since the run in .* began"):
            unspool.compare(settings(seeds=3), small, num_processes=1)
        assert held() == before
        comparison = resume(small, allow_changes=True)
        assert not comparison.earlier and len(comparison.rows) == 2
    finally:
        own.write_text(OWN)


def test_a_failure_is_told_and_the_rest_is_kept(here, tmp_path):
    config = settings(problem=Spec("own.py:Broken"), seeds=1)
    directory = here / tmp_path.name
    with pytest.raises(ExperimentError, match=r"BPTT \(KeyError: 'peace'\).*; what is done"):
        unspool.compare(config, directory, num_processes=1)
    assert sorted(path.name for path in directory.iterdir()) == ["compare.toml", "lock"]


WRONG = {
    "num_steps must be at least 4, for an update of BPTT, got 3": {"num_steps": 3},
    "own.py:ready takes no learning rate: leave out learning_rates": {
        "optimizer": Spec("own.py:ready"), "learning_rates": (0.1,),
    },
    "a schedule spans a number of updates, which `seconds` alone does not give": {
        "schedule": Spec("cosine"), "num_updates": None, "seconds": 1.0,
    },
    "there is no estimator 'nrs'; did you mean nres?": {"estimators": {"NRES": Spec("nrs")}},
    "estimators: a label must be letters": {"estimators": {"a/b": Spec("nres")}},
    "estimators: labels must differ, got a-b twice": {
        "estimators": {"a b": Spec("nres"), "A-b": Spec("pes")},
    },
    "estimators must name one at least": {"estimators": {}},
    "learning_rates must be a finite number above 0, got -1": {"learning_rates": (0.1, -1.0)},
    "learning_rates must differ, got 0.1 twice": {"learning_rates": (0.1, 0.1)},
    "seconds must be a finite number above 0, got 0.0": {"seconds": 0.0},
    "selection_seeds must be an integer of at least 1, got 0": {"selection_seeds": 0},
}  # fmt: skip


@pytest.mark.parametrize("said", WRONG)
def test_wrong_settings_are_named_before_anything_is_written(said):
    with pytest.raises(ValueError) as raised:
        unspool.compare(settings(**WRONG[said]), "wrong", num_processes=1)
    assert said in str(raised.value)
    assert not Path("wrong").exists()


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds notes.txt and no compare.toml"):
        unspool.compare(settings(), tmp_path)
    with pytest.raises(RunError, match="there is no comparison in .*: compare.toml is missing"):
        resume(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
