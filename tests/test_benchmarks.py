"""The benchmarks' own arithmetic, at a size at which nothing is worth measuring."""

import importlib.util
from pathlib import Path

import unspool
from unspool import problems

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_of_costs(monkeypatch):
    measure = load("measure")
    monkeypatch.setattr(measure, "SECONDS_PER_LOOP", 1e-3)
    row = measure.measure(problems.Cubic(horizon=12), unspool.NRES(4, 3, 0.1))
    assert row["steps"] == 2 * 4 * 3 and row["num_params"] == 2
    assert row["problem"] == "Cubic" and row["estimator"]["name"] == "NRES"
    assert 0 < row["cpu_s"] and row["outside"] <= 1 and row["state_bytes"] > 0
    reverse = measure.measure(problems.Cubic(horizon=12), unspool.BPTT(1))
    assert reverse["outside"] is None


def test_a_training_of_the_copy_task(monkeypatch):
    copy_task = load("copy_task")
    monkeypatch.setattr(copy_task, "NUM_UPDATES", 2)
    # Who knows nothing yet pays a logarithm of two.
    assert 0.5 < copy_task.train(2, copy_task.ESTIMATORS["SnAp1"], 0) < 1.0
