"""The experiments with bodies that learn to move, and the policies that they leave behind."""

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from unspool import NRES, PES, FullES, TruncatedES, evaluate
from unspool.cli.__main__ import main
from unspool.experiments import (
    HalfCheetahExperiment,
    HopperExperiment,
    SwimmerExperiment,
    reproduce,
)
from unspool.problems.control import Swimmer

# In one process, so that the fixture is made once.
pytestmark = pytest.mark.xdist_group("control")

ALL = SwimmerExperiment, HalfCheetahExperiment, HopperExperiment


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two updates of each method, of the one window that there is."""
    options = dict(num_updates=2, num_episodes=2, evaluate_every=2, horizon=100)
    experiment = SwimmerExperiment(seeds=1, **options)
    directory = tmp_path_factory.mktemp("control") / "swimmer"
    reproduce(experiment, directory, num_processes=1)
    return experiment, directory


def test_swimmer_has_the_published_settings():
    experiment = SwimmerExperiment.at_paper_size()
    assert experiment.seed_values == (23, 29, 31, 37, 41)
    entries = {entry.label: entry for entry in experiment.entries()}
    kinds = {label: type(entry.estimator) for label, entry in entries.items()}
    assert kinds == {"NRES": NRES, "PES": PES, "FullES": FullES, "TES": TruncatedES}
    workers = {label: entry.estimator.num_workers for label, entry in entries.items()}
    assert workers == {"NRES": 30, "PES": 30, "FullES": 3, "TES": 30}
    rates = {k: entry.optimizer.options["learning_rate"] for k, entry in entries.items()}
    assert rates == {"NRES": 3.0, "PES": 1.0, "FullES": 1.0, "TES": 30.0}
    for entry in entries.values():
        assert (entry.num_updates, entry.evaluation.every) == (200, 1)
        assert entry.evaluation.num_episodes == 20
        assert not np.any(entry.problem.init_params(key=jax.random.key(0)))


def test_half_cheetah_has_the_published_settings():
    experiment = HalfCheetahExperiment.at_paper_size()
    assert experiment.seed_values == (83, 89, 97, 101, 103)
    entries = {entry.label: entry for entry in experiment.entries()}
    rates = {k: entry.optimizer.options["learning_rate"] for k, entry in entries.items()}
    assert rates == {"NRES": 3e-5, "PES": 3e-6, "FullES": 3e-5, "TES": 3e-5}
    assert {k: entry.num_updates for k, entry in entries.items()} == {
        "NRES": 1000, "PES": 30_000, "FullES": 1000, "TES": 1000,
    }  # fmt: skip
    weights = entries["NRES"].problem.init_params(key=jax.random.key(0))
    assert weights.shape == (6, 17)
    assert np.abs(weights).max() <= 2 * 0.04776 + 1e-5
    # 102 draws: four standard errors of their standard deviation.
    assert np.std(weights) == pytest.approx(np.sqrt(0.03 / 17), rel=4 / np.sqrt(2 * 102))


@pytest.mark.parametrize("make", ALL)
def test_what_is_trained_is_evaluated_at_its_end(make):
    for entry in make(evaluate_every=7).entries():
        assert entry.num_updates % entry.evaluation.every == 0
    names = make().parameter_names
    assert names[:2] == ("weight 0 0", "weight 0 1")
    assert len(names) == make().problem.init_params(key=jax.random.key(0)).size


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match="num_episodes must be an integer of at least 1, got 0"):
        SwimmerExperiment(num_episodes=0)


@pytest.mark.slow
def test_returns_are_those_of_whole_episodes(finished):
    experiment, directory = finished
    lines = (directory / "NRES-23" / "evaluation.jsonl").read_text().splitlines()
    logged = json.loads((directory / "NRES-23" / "metrics.jsonl").read_text().splitlines()[-1])
    params = np.reshape(logged["params"], (2, 8)).astype(np.float32)
    found = evaluate(experiment.problem, params, key=jax.random.key(23), num_episodes=2)
    assert json.loads(lines[-1])["loss"] == pytest.approx(float(found.loss), rel=1e-6)
    described = json.loads((directory / "experiment.json").read_text())
    assert described["metric_factor"] == -100 and described["thresholds"] == [325]


@pytest.mark.slow
def test_each_method_has_a_strip_of_different_pictures(finished):
    _, directory = finished
    pictures = json.loads((directory / "experiment.json").read_text())["pictures"]
    if not pictures:
        pytest.skip("nothing can be drawn here")
    assert [picture["file"] for picture in pictures] == [
        f"pictures/{label}.png" for label in ("NRES", "PES", "FullES", "TES")
    ]
    strip = np.asarray(Image.open(directory / pictures[0]["file"]))
    assert strip.shape == (180, 8 * 240, 3)
    frames = np.split(strip.astype(int), 8, axis=1)
    assert all(np.abs(a - b).mean() > 0.1 for a, b in zip(frames, frames[1:], strict=False))


def can_draw() -> bool:
    problem = Swimmer(horizon=2)
    try:
        problem.render(problem.init_params(key=jax.random.key(0)), seed=0, num_steps=1, every=1)
    except RuntimeError:
        return False
    return True


@pytest.mark.slow
def test_play_shows_what_was_trained(finished, tmp_path, capsys):
    if not can_draw():
        pytest.skip("nothing can be drawn here")
    _, directory = finished
    file = tmp_path / "gait.gif"
    words = ["play", str(directory / "NRES-23"), "--file", str(file), "--num-steps=20", "--every=4"]
    assert main([*words, "--num-episodes=2"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^update    2$", printed, re.MULTILINE)
    assert re.search(r"^return    -?[\d.]+ \+- [\d.]+ on 2 fresh episodes$", printed, re.MULTILINE)
    with Image.open(file) as picture:
        assert picture.n_frames == 6 and picture.info["duration"] == 160
    assert main([*words, "--update=1"]) == 2
    assert "the nearest is" in capsys.readouterr().err


def test_a_trained_policy_is_played_from_its_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["swimmer", "nres", "--problem.horizon=20", "--window=10", "--num-workers=2"]
    words += ["--num-updates=2", "--num-episodes=1", "--directory=run"]
    assert main(["train", *words]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["problem"]["name"] == "Swimmer"
    assert config["problem"]["options"]["policy"]["name"] == "LinearPolicy"
    capsys.readouterr()
    assert main(["play", "run", "--every=0"]) == 2
    assert "--every must be an integer of at least 1, got 0" in capsys.readouterr().err
    if can_draw():
        assert main(["play", "run", "--num-episodes=0"]) == 0
        assert "run/policy.gif" in capsys.readouterr().out
        assert (tmp_path / "run" / "policy.gif").exists()


def test_only_what_moves_can_be_played(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cubic", "nres", "--num-updates=1", "--directory=run"]) == 0
    capsys.readouterr()
    assert main(["play", "run"]) == 2
    assert "of Cubic, which has nothing to show" in capsys.readouterr().err
    assert main(["play"]) == 2
    assert "missing: RUN" in capsys.readouterr().err
