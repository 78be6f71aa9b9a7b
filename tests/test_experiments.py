"""The runner of experiments: what it writes, keeps, refuses, and goes on with."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
import pytest

from support.slow import slow
from unspool import NRES, TBPTT, RunError, evaluate, load_object
from unspool.experiments import (
    AbstractExperiment,
    Entry,
    EvaluationPlan,
    ExperimentError,
    InfluenceBalancingExperiment,
    LorenzExperiment,
    LynxHareExperiment,
    ManyHyperparametersExperiment,
    RidgeExperiment,
    ToyRegressionExperiment,
    UnrollVarianceExperiment,
    reproduce,
)
from unspool.experiments.base import sgd
from unspool.experiments.losses import draw_shifts, surface
from unspool.experiments.pool import TaskFailed, TaskMessage, run_tasks
from unspool.problems import InfluenceBalancing, ToyRegression
from unspool.records import Chart, Details, Series, read_studies

ALL = (
    InfluenceBalancingExperiment,
    LorenzExperiment,
    LynxHareExperiment,
    ManyHyperparametersExperiment,
    ToyRegressionExperiment,
    UnrollVarianceExperiment,
)


@dataclass(frozen=True)
class Small(AbstractExperiment):
    """One parameter, two methods."""

    name: ClassVar[str] = "small"
    title: ClassVar[str] = "A small experiment"
    source: ClassVar[str] = "nobody"
    references: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ("theta",)

    seeds: int = 1
    rate: float = 1e-2
    nres_rate: float | None = None
    num_updates: int = 20

    def entries(self):
        plan = EvaluationPlan(InfluenceBalancing(30), every=10)
        both = (("NRES", NRES(4, 10, sigma=0.1)), ("TBPTT 10", TBPTT(1, 10)))
        rates = {"NRES": self.nres_rate or self.rate, "TBPTT 10": self.rate}
        return tuple(
            Entry(label, InfluenceBalancing(30), estimator, sgd(rates[label]),
                  self.num_updates, 5, plan)
            for label, estimator in both
        )  # fmt: skip

    def details(self):
        return Details(metric="loss")

    def charts(self, traces):
        ends = [float(first.params[-1, 0]) for first, *_ in traces.values()]
        return [Chart(title="ends", series=[Series.line("all", [0, 1], ends)])]


@dataclass(frozen=True)
class Broken(Small):
    """As above, with an entry that cannot be started."""

    name: ClassVar[str] = "broken"

    def entries(self):
        good, bad = super().entries()
        plan = EvaluationPlan(ToyRegression(), every=10)
        return good, Entry("bad", bad.problem, bad.estimator, bad.optimizer, 20, 5, plan)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_seconds(path: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines(path)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small experiment that ran undisturbed, and what it told on the way."""
    directory, told = tmp_path_factory.mktemp("finished") / "here", []
    reproduce(Small(), directory, num_processes=1, on_progress=told.append)
    return directory, told


def test_the_files_of_a_run(finished):
    directory, _ = finished
    assert sorted(path.name for path in directory.iterdir()) == [
        "NRES-101", "TBPTT-10-101", "experiment.json",
    ]  # fmt: skip
    config = json.loads((directory / "NRES-101" / "config.json").read_text())
    assert list(config) == [
        "format", "experiment", "unspool", "problem", "estimator", "optimizer", "label", "seed",
        "num_updates", "num_params", "parameter_names", "environment", "settings", "fingerprints",
        "references",
    ]  # fmt: skip
    assert config["experiment"] == {
        "name": "small",
        "options": {"rate": 0.01, "nres_rate": None, "num_updates": 20},
    }
    assert config["estimator"]["name"] == "NRES"
    assert config["estimator"]["estimand"] == "smoothed gradient"
    assert config["optimizer"] == {"name": "sgd", "options": {"learning_rate": 0.01}}
    assert (config["label"], config["seed"], config["num_params"]) == ("NRES", 101, 1)
    updates = [line["update"] for line in lines(directory / "NRES-101" / "metrics.jsonl")]
    assert updates == [0, 5, 10, 15, 20]


def test_evaluations_are_those_of_the_logged_parameters(finished):
    directory, _ = finished
    logged = {
        line["update"]: line["params"][0]
        for line in lines(directory / "TBPTT-10-101" / "metrics.jsonl")
    }
    found = lines(directory / "TBPTT-10-101" / "evaluation.jsonl")
    assert [line["update"] for line in found] == [0, 10, 20]
    for line in found:
        params = jax.numpy.asarray(logged[line["update"]])
        expected = evaluate(InfluenceBalancing(30), params, key=jax.random.key(101)).loss
        assert line["loss"] == pytest.approx(float(expected), rel=1e-5)
        assert line["standard_error"] is None


def test_progress_ends_at_the_total(finished):
    _, told = finished
    done = [now.done for now in told]
    assert done == sorted(done)
    assert told[-1].done == told[-1].total == {now.total for now in told}.pop()
    assert {(now.label, now.seed) for now in told} == {("NRES", 101), ("TBPTT 10", 101)}


def test_the_report_reads_it(finished):
    directory, _ = finished
    (study,) = read_studies([directory])
    assert study.labels == ("NRES", "TBPTT 10")
    assert study.experiment.name == "small"
    ends = [run.metrics.params[-1, 0] for run in study.runs]
    np.testing.assert_array_equal(study.experiment.charts[0].series[0].y, ends)


def test_finished_runs_are_kept_and_seeds_added(finished):
    directory, _ = finished
    kept = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in directory.glob("*-101/*.json*")
    }
    told = []
    reproduce(Small(seeds=2), directory, num_processes=1, on_progress=told.append)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == kept
    assert (directory / "NRES-103" / "evaluation.jsonl").exists()
    assert told[-1].done == told[-1].total


class Interrupt(BaseException):
    """What Ctrl-C is, without stopping pytest."""


@pytest.mark.parametrize("after", [0, slow(3), 5])
def test_an_interrupted_run_goes_on_to_the_same_bits(finished, tmp_path, after):
    """Interrupted in training (before and after a checkpoint) and in evaluation."""
    told = []

    def interrupt(now):
        told.append(now)
        if len(told) > after:
            raise Interrupt

    with pytest.raises(Interrupt):
        reproduce(Small(), tmp_path, num_processes=1, on_progress=interrupt)
    assert not (tmp_path / "experiment.json").exists()
    reproduce(Small(), tmp_path, num_processes=1)
    for run in ("NRES-101", "TBPTT-10-101"):
        for name in ("metrics.jsonl", "evaluation.jsonl"):
            expected = without_seconds(finished[0] / run / name)
            assert without_seconds(tmp_path / run / name) == expected


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (Small(rate=0.5), "holds runs of 'small' with rate 0.01 instead of 0.5"),
        (Broken(), "holds runs of the experiment 'small', not 'broken'"),
    ],
)
def test_another_directory_is_refused(finished, experiment, message):
    directory, _ = finished
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=message):
        reproduce(experiment, directory, num_processes=1)
    after = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert after == before


def test_a_directory_of_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds notes.txt, which is no run"):
        reproduce(Small(), tmp_path, num_processes=1)
    with pytest.raises(RunError, match="is a file"):
        reproduce(Small(), tmp_path / "notes.txt", num_processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_training_that_cannot_go_on_is_an_outcome(tmp_path):
    reproduce(Small(rate=1e-2, nres_rate=1e30, num_updates=60), tmp_path, num_processes=1)
    status = json.loads((tmp_path / "NRES-101" / "status.json").read_text())
    assert status["status"] == "stopped"
    assert "workers dropped" in status["message"]
    (study,) = read_studies([tmp_path])
    assert [run.status.state for run in study.runs] == ["stopped", "finished"]
    stopped = (tmp_path / "NRES-101" / "metrics.jsonl").read_bytes()
    reproduce(Small(rate=1e-2, nres_rate=1e30, num_updates=60), tmp_path, num_processes=1)
    assert (tmp_path / "NRES-101" / "metrics.jsonl").read_bytes() == stopped


def test_a_failure_is_told_and_the_rest_goes_on(tmp_path):
    with pytest.raises(ExperimentError, match=r"failed: bad \(.*the rest is there"):
        reproduce(Broken(), tmp_path, num_processes=1)
    status = json.loads((tmp_path / "NRES-101" / "status.json").read_text())
    assert status["status"] == "finished"
    assert (tmp_path / "experiment.json").exists()


SCRIPT = """
import sys
from test_experiments import Small
from unspool.experiments import reproduce

def main():
    show = lambda now: print(now.label, flush=True)
    experiment = Small(num_updates=10**6)
    reproduce(experiment, sys.argv[1], num_processes=2, on_progress=show)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_spawned_processes_end_with_the_one_that_asked(tmp_path, start_program, finish):
    """Ctrl-C, which every process of the group gets, leaves no process and no broken file.

    A pipe is at its end when the last process that could write to it is gone.
    """
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests.parent / 'src'}{os.pathsep}{tests}"}
    process = start_program(str(script), str(tmp_path / "here"), env=environment)
    assert process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, error = finish(process)
    assert process.returncode != 0
    assert error.rstrip().endswith("KeyboardInterrupt")
    for config in (tmp_path / "here").glob("*/config.json"):
        json.loads(config.read_text())


@pytest.mark.parametrize("make", ALL)
def test_every_experiment_is_well_formed(make):
    experiment = make(seeds=7)
    assert experiment.seed_values[:5] == (101, 103, 107, 109, 113)
    assert len(set(experiment.seed_values)) == 7
    entries = experiment.entries()
    labels = [entry.label for entry in entries]
    assert len(set(labels)) == len(labels)
    for entry in entries:
        params = entry.problem.init_params(key=jax.random.key(0))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert count == len(experiment.parameter_names)
        assert not isinstance(entry, Entry) or entry.evaluation.every % entry.log_every == 0
        assert sorted(json.loads(json.dumps(entry.settings()))) == [
            "environment", "estimator", "num_updates", "optimizer",
        ]  # fmt: skip
    assert make.__doc__.partition("\n")[0].endswith(".")
    with pytest.raises(ValueError, match="seeds must be"):
        make(seeds=0)


def test_the_surface_is_the_loss_averaged_over_shifts():
    problem = ToyRegression(20)
    x, y = np.array([-4.0, -3.0]), np.array([-2.0, -1.0, 0.0])
    shifts = draw_shifts(0.1, 4)
    found = surface(problem, x, y, shifts, "loss")
    assert np.shape(found.loss) == (3, 2)
    at = jax.numpy.array([x[1], y[2]])
    losses = [float(evaluate(problem, at + shift, key=jax.random.key(0)).loss) for shift in shifts]
    assert found.loss[2][1] == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_loss_of_ridge_regression_is_its_closed_form():
    assert RidgeExperiment(num_train=441).ridge.valid.inputs.shape == (1, 10)
    with pytest.raises(ValueError, match="must leave examples to hold out, got 442 of 442"):
        _ = RidgeExperiment(num_train=442).ridge
    ridge, horizon = RidgeExperiment().ridge, 20
    problem = ridge.problem(horizon)
    # A penalty of exp(0).
    params = problem.init_params(key=jax.random.key(0))
    found = evaluate(problem, params, key=jax.random.key(1), num_episodes=400)
    exact = ridge.mean_loss(0.0, horizon)
    assert abs(float(found.loss) - exact) < 4 * float(found.standard_error) < 0.1 * exact
    # Held out examples want a penalty, and one far from it does them no good.
    best = ridge.optimum(None)
    assert all(ridge.endless_loss(best) < ridge.endless_loss(best + off) for off in (-0.5, 0.5))


@pytest.mark.slow
def test_a_series_and_a_vector_field_of_ones_own(tmp_path):
    (tmp_path / "mine.csv").write_text("day,yeast\n0,1\n1,2\n2,3.5\n3,5\n")
    (tmp_path / "field.py").write_text("def logistic(r, x):\n    return r[0] * x * (1 - x / r[1])")
    experiment = LynxHareExperiment(
        seeds=1,
        num_updates=5,
        data=str(tmp_path / "mine.csv"),
        vector_field=f"{tmp_path / 'field.py'}:logistic",
        init_rates=(1.0, 5.0),
    )
    assert experiment.parameter_names == ("log rate 1", "log rate 2", "log first yeast")
    reproduce(experiment, tmp_path / "fit", num_processes=1)
    (study,) = read_studies([tmp_path / "fit"])
    (chart,) = study.experiment.charts
    data, *curves = chart.series
    np.testing.assert_array_equal(data.y, [1, 2, 3.5, 5])
    assert [curve.label for curve in curves] == ["BPTT", "RTRL", "NRES"]
    assert not study.experiment.claims


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_field": "a.py:f"}, "vector_field needs init_rates"),
        ({"vector_field": "a.py", "init_rates": (1.0,)}, "must be file.py:NAME"),
        ({"vector_field": "absent.py:f", "init_rates": (1.0,)}, "no file absent.py"),
        ({"vector_field": f"{__file__}:nothing", "init_rates": (1.0,)}, "no 'nothing' in"),
        (
            {"vector_field": "math:pi", "init_rates": (1.0,)},
            "name a function, got 'math:pi'",
        ),
    ],
)
def test_a_vector_field_that_cannot_be_had(options, message):
    with pytest.raises(ValueError, match=message):
        LynxHareExperiment(**options)


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_task_along():
    tasks = [("[1, 2]",), ("__import__('os')._exit(1)",), ("1 / 0",), ("[3]",)]
    found = list(run_tasks(eval, tasks, 2))
    assert sorted(found) == [
        TaskMessage(0, 1),
        TaskMessage(0, 2),
        TaskFailed(1, "its process was killed"),
        TaskFailed(2, "ZeroDivisionError: division by zero"),
        TaskMessage(3, 3),
    ]


@pytest.mark.slow
def test_an_experiment_of_a_file_runs_in_other_processes(tmp_path):
    """Its class goes there by the name of the file, which no other process has run before."""
    text = "from test_experiments import Small\n\n\nclass Mine(Small):\n    name = 'mine'\n"
    (tmp_path / "mine.py").write_text(text)
    mine = load_object(f"{tmp_path / 'mine.py'}:Mine")
    reproduce(mine(num_updates=5), tmp_path / "runs", num_processes=2)
    (study,) = read_studies([tmp_path / "runs"])
    assert study.labels == ("NRES", "TBPTT 10") and study.experiment.name == "mine"
