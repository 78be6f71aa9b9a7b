"""The experiments that meta-train a learned optimizer: what they run, measure and say."""

import dataclasses
import json
import struct

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from unspool import NRES, PES
from unspool.experiments import LoptCifar10Experiment, LoptFashionMnistExperiment, reproduce
from unspool.experiments.published.variance import variance_of_one_worker, window_estimates
from unspool.problems import LinearQuadratic

SMALL = dict(seeds=2, num_steps=400, horizon=8, num_workers=4, window=2, batch_size=4)


def small(make, *labels, **options):
    """A small experiment, with the entries of these labels alone if there are any."""

    class Some(make):
        def entries(self):
            return tuple(e for e in super().entries() if not labels or e.label in labels)

    return Some(**SMALL, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    experiment = small(LoptFashionMnistExperiment, "NRES", "PES", "TES", hidden=(4,))
    directory = tmp_path_factory.mktemp("lopt")
    reproduce(experiment, directory, num_processes=1)
    return experiment, directory


def test_all_have_the_same_number_of_steps():
    experiment = LoptFashionMnistExperiment()
    costs = {entry.label: entry.training_steps for entry in experiment.entries()}
    reverse = costs.pop("TBPTT")
    assert all(0.95 * 320_000 < cost <= 320_000 for cost in costs.values())
    assert 0.9 * 32_000 < reverse <= 32_000


def test_the_paper_size_is_the_published_one(tmp_path):
    for part in ("train", "t10k"):
        images = struct.pack(">4I", 0x803, 3, 28, 28) + bytes(3 * 28 * 28)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x801, 3) + bytes(3)
        )
    experiment = LoptFashionMnistExperiment.at_paper_size()
    assert experiment.images == "fashion-mnist"
    experiment = dataclasses.replace(experiment, data_dir=str(tmp_path))
    assert experiment.periods == {
        "PES": 1, "GPES 4": 4, "GPES 16": 16, "GPES 64": 64, "GPES 256": 256, "NRES": 1000,
    }  # fmt: skip
    assert experiment.seed_values == (53, 59, 61, 67, 71)
    assert experiment.num_params == 1762
    entries = {entry.label: entry for entry in experiment.entries()}
    assert entries["NRES"].num_updates > 240_000 and entries["TES"].num_updates > 160_000
    assert entries["NRES"].optimizer.options["eps_root"] == 1e-8
    rates = [entries[k].optimizer.options["learning_rate"] for k in ("NRES", "TES", "TBPTT")]
    assert rates == [3e-4, 1e-3, 1e-2]
    weights = experiment.problem.task.model.init(jax.random.key(0))
    assert ravel_pytree(weights)[0].size == 4522


def test_seeds_differ_in_noise_alone():
    problem = small(LoptFashionMnistExperiment).problem
    starts = [ravel_pytree(problem.init_params(key=jax.random.key(k)))[0] for k in (0, 1)]
    assert np.array_equal(*starts)
    other = dataclasses.replace(problem, init_seed=None)
    assert not np.array_equal(ravel_pytree(other.init_params(key=jax.random.key(0)))[0], starts[0])


@pytest.mark.slow
def test_what_is_logged_and_drawn(finished):
    experiment, directory = finished
    described = json.loads((directory / "experiment.json").read_text())
    titles = [chart["title"] for chart in described["charts"]]
    assert titles == [
        "Where meta-training ends against the period of the noise",
        "The variance of one worker against the period of its noise",
        "NRES and FullES at equal compute",
    ]
    final, variance, equal = described["charts"]
    assert "NRES ends" in final["note"] and "PES ends" in final["note"]
    points = [s for s in variance["series"] if s["style"] == "points"]
    assert len(points) == 3 and points[0]["x"] == [2, 8]
    heights = {s["label"]: s["y"] for s in equal["series"] if s["style"] == "points"}
    reused = [s["y"][-1] / 4 for s in points]
    assert heights["NRES"] == pytest.approx(reused) and "ten times as long" in final["note"]
    measured = json.loads((directory / "measured" / "variance-of-NRES.json").read_text())
    whole = np.log(np.array([*measured["values"].values()])[:, 1::2]).mean(axis=0)
    assert heights["FullES"] == pytest.approx(np.exp(whole))


@pytest.mark.slow
def test_variances_are_measured_where_the_run_went(finished):
    """The first of the measured points, measured once more by hand."""
    experiment, directory = finished
    (measurement,) = [m for m in experiment.measurements() if m.label == "variance of NRES"]
    lines = (directory / "NRES-53" / "metrics.jsonl").read_text().splitlines()
    path = np.array([json.loads(line)["params"] for line in lines])
    values = json.loads((directory / "measured" / "variance-of-NRES.json").read_text())["values"]
    problem = experiment.problem
    unravel = ravel_pytree(problem.init_params(key=jax.random.key(0)))[1]
    params = unravel(path[round(0.25 * (len(path) - 1))].astype(np.float32))
    at = jax.random.split(jax.random.key(53), 3)[0]
    found = variance_of_one_worker(
        problem, NRES(1, 2, sigma=0.01), params, jax.random.split(at, 10)
    )
    assert values["53"][:2] == pytest.approx(list(found), rel=1e-4)
    assert measurement.num_steps == 3 * 10 * 2 * 8


@pytest.mark.slow
def test_the_variance_of_one_worker_is_that_of_many_windows(float64):
    """Against all windows of many episodes; of the mean over an episode, against the same."""
    problem, params = LinearQuadratic(horizon=6), None
    params = problem.init_params(key=jax.random.key(0))
    for make in (NRES, PES):
        one = make(1, 2, sigma=0.1)
        keys = jax.random.split(jax.random.key(1), 4000)
        grads = np.asarray(window_estimates(problem, one, params, keys)[0]) * 3 / 6
        flat = grads.reshape(-1, grads.shape[-1])
        exact = flat.var(axis=0).sum(), grads.mean(axis=1).var(axis=0, ddof=1).sum()
        groups = jax.random.split(jax.random.key(2), 60 * 5).reshape(60, 5)
        found = np.array([variance_of_one_worker(problem, one, params, k) for k in groups])
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        spread = np.array([np.sum((flat - flat.mean(0)) ** 2, 1).std() / len(flat) ** 0.5, 0])
        assert np.all(np.abs(found.mean(axis=0) - exact) < 4 * np.hypot(error, 2 * spread))
        assert abs(exact[0] - exact[1]) > 4 * error[0]
        assert np.all(np.hypot(error, 2 * spread) < 0.2 * np.array(exact))


@pytest.mark.slow
def test_the_other_experiment_runs(tmp_path):
    options = {"channels": (2,), "hidden": (4,)}
    labels = {entry.label for entry in small(LoptCifar10Experiment, **options).entries()}
    assert labels == {"NRES", "PES", "FullES", "TES", "MLP NRES", "MLP PES", "MLP TES"}
    experiment = small(LoptCifar10Experiment, "NRES", "PES", "MLP TES", **options)
    reproduce(experiment, tmp_path / "cifar", num_processes=1)
    described = json.loads((tmp_path / "cifar" / "experiment.json").read_text())
    assert len(described["charts"]) == 3


def test_the_published_network_and_clip_of_cifar10():
    experiment = LoptCifar10Experiment.at_paper_size()
    assert experiment.num_steps == 40_000_000 and experiment.window == 100
    with pytest.raises(FileNotFoundError, match="CIFAR-10"):
        experiment.entries()
    digits = small(LoptCifar10Experiment).problem.task.model
    assert digits.valid_loss is not None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 3}, "window must divide horizon = 500, got 3; the nearest legal value is 2"),
        ({"num_steps": 0}, "num_steps must be an integer of at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        LoptFashionMnistExperiment(**options)
