"""Pictures of bodies in MuJoCo show their episodes, where there is something to draw with."""

import os
import subprocess
import sys

import numpy as np
import pytest

import unspool
from support import mujoco_bodies
from support.mujoco_bodies import SEEDS, play, weights_of
from unspool.problems.control import Hopper, Swimmer

folder = mujoco_bodies.folder


def test_pictures_show_an_episode():
    problem = Swimmer(horizon=40)
    params = weights_of(problem, 1, scale=5.0)[0]
    try:
        pictures = problem.render(params, seed=3, num_steps=100, every=20, size=(160, 120))
    except RuntimeError as error:
        assert "MUJOCO_GL" in str(error)
        pytest.skip("nothing to draw with")
    assert [picture.shape for picture in pictures] == [(120, 160, 3)] * 3
    assert all(picture.dtype == np.uint8 and picture.std() > 5 for picture in pictures)
    assert all(np.any(x != y) for x, y in zip(pictures, pictures[1:], strict=False))
    again = problem.render(params, seed=3, num_steps=0, every=1, size=(160, 120))
    assert len(again) == 1 and np.array_equal(again[0], pictures[0])
    wide = problem.render(params, seed=3, num_steps=0, every=1, size=(1000, 500))
    assert wide[0].shape == (500, 1000, 3)


def test_an_episode_that_ends_has_no_further_pictures():
    problem = Hopper()
    params = weights_of(problem, 1, scale=5.0)[0]
    length = int(np.argmax(play(problem, params[None], SEEDS[:1], 100)[0][2])) + 1
    try:
        pictures = problem.render(params, seed=0, num_steps=100, every=5, size=(64, 48))
    except RuntimeError:
        pytest.skip("nothing to draw with")
    assert len(pictures) == length // 5 + 1 < 21


def test_the_best_parameters_are_played_by_name(tmp_path):
    config = unspool.TrainConfig(
        problem=unspool.Spec("swimmer", {"horizon": 20}),
        estimator=unspool.Spec("nres", {"num_workers": 1}),
        num_updates=2,
        num_episodes=1,
        evaluate_every=1,
    )
    list(unspool.train_run(config, tmp_path / "run"))
    best = unspool.Run.open(tmp_path / "run").best
    try:
        # An episode that the parameters were judged by: it has the loss that was found then.
        played = unspool.play(tmp_path / "run", update="best", num_steps=1, num_episodes=1)
    except RuntimeError:
        pytest.skip("nothing to draw with")
    assert played.update == best.update
    assert -played.mean_return / 20 == pytest.approx(best.loss, rel=1e-6)


def test_no_pictures_without_graphics():
    code = """
import numpy as np
from unspool.problems.control import Swimmer
try:
    Swimmer().render(np.zeros((2, 8)), seed=0, num_steps=0, every=1)
except RuntimeError as error:
    print(error)
"""
    environment = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert "MuJoCo cannot draw here" in done.stdout, done.stderr
