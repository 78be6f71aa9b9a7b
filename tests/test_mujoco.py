"""Bodies that learn to move: every step is Gymnasium's own, whichever rows are run together."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import ClassVar

import jax
import numpy as np
import pytest

from support import mujoco_bodies
from support.episodes import is_done
from support.mujoco_bodies import KEY, SEEDS, gymnasium, play, weights_of
from unspool.problems.control import (
    Ant,
    HalfCheetah,
    Hopper,
    LinearPolicy,
    MLPPolicy,
    Swimmer,
    Walker2d,
)
from unspool.problems.control.mujoco_rows import MujocoRows, load_model

folder = mujoco_bodies.folder

PROBLEMS = [Swimmer, HalfCheetah, Hopper, Walker2d, Ant]


def mismatches(problem, name, num_steps):
    """Where a problem and Gymnasium's environment of that name differ in any bit, and the ends.

    Gymnasium is given the actions that the policy chose for a row among others.
    """
    params = weights_of(problem, len(SEEDS))
    state = problem.init_state(params, seeds=SEEDS)
    environments = [gymnasium.make(f"{name}-v5").unwrapped for _ in SEEDS]
    found, running = [], set(range(len(SEEDS)))
    for i, environment in enumerate(environments):
        observation, _ = environment.reset(seed=int(SEEDS[i]))
        if not np.array_equal(observation, problem.observe(state)[i]):
            found.append(("start", i))
    for t in range(num_steps):
        actions = problem.act(params, state)
        state, losses = problem.step(params, state, np.full(len(SEEDS), t), seeds=SEEDS)
        observations, done = problem.observe(state), is_done(problem, state)
        for i in sorted(running):
            observation, reward, ended, _, _ = environments[i].step(actions[i])
            if not np.array_equal(observation, observations[i]):
                found.append(("observation", i, t))
            if reward != -losses[i]:
                found.append(("reward", i, t))
            if ended != done[i]:
                found.append(("end", i, t))
            if ended:
                running.discard(i)
    return found, len(SEEDS) - len(running)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_step_is_that_of_gymnasium_to_the_last_bit(kind):
    found, num_ended = mismatches(kind(), kind.__name__, 150)
    assert found == []
    assert (num_ended > 0) == (kind in (Hopper, Walker2d, Ant))


@dataclasses.dataclass(frozen=True)
class Hasty(Swimmer):
    frame_skip: ClassVar[int] = 5


@dataclasses.dataclass(frozen=True)
class Cheap(HalfCheetah):
    def reward(self, before, actions, after):
        return super().reward(before, actions, after) + 1e-9 * np.square(actions).sum(1)


@dataclasses.dataclass(frozen=True)
class Lenient(Hopper):
    def is_healthy(self, state):
        return super().is_healthy(state) | (self.positions(state)[:, 1] >= 0.69)


@dataclasses.dataclass(frozen=True)
class Weightless(Ant):
    def observe(self, state):
        return super().observe(state | {"cfrc_ext": np.zeros_like(state["cfrc_ext"])})


@pytest.mark.parametrize(
    "problem, name, what",
    [
        (Hasty(), "Swimmer", "observation"),
        (Cheap(), "HalfCheetah", "reward"),
        (Lenient(), "Hopper", "end"),
        (Weightless(), "Ant", "observation"),
    ],
)
def test_what_is_not_gymnasiums_is_told_from_it(problem, name, what):
    found, _ = mismatches(problem, name, 100)
    assert what in {difference[0] for difference in found}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_how_rows_are_run_together_changes_no_bit(kind):
    together = kind(num_threads=1)
    params = weights_of(together, len(SEEDS))
    history, last = play(together, params, SEEDS, 60)
    assert len(np.unique(history[1])) == history[1].size
    split = kind(num_threads=2)
    # Three rows first, then one of them, so that the batch grows and is used in part.
    for rows in (slice(1, 4), slice(0, 1), slice(2, 3), slice(0, 4)):
        part, end = play(split, params[rows], SEEDS[rows], 60)
        for whole, piece in zip(history, part, strict=True):
            assert np.array_equal(whole[:, rows], piece)
        for name, leaf in end.items():
            assert np.array_equal(leaf, last[name][rows])


def test_a_hopper_is_over_at_its_limits():
    """As Gymnasium has it, exactly at a limit, where no simulation ends up."""
    problem, seeds = Hopper(), np.zeros(6, np.uint64)
    state = problem.init_state(weights_of(problem, 6), seeds=seeds)
    problem.positions(state)[:, 1:3] = [(1.25, 0), (0.7, 0), (1, 0.2), (1, -0.2), (1, 0), (1, 0)]
    problem.positions(state)[4, 3] = problem.velocities(state)[5, 0] = 100.0
    assert is_done(problem, state).tolist() == [False, *[True] * 5]
    environment = gymnasium.make("Hopper-v5").unwrapped
    for positions, velocities, done in zip(
        problem.positions(state), problem.velocities(state), is_done(problem, state), strict=True
    ):
        environment.set_state(positions, velocities)
        assert environment.is_healthy != done


def test_states_that_are_given_are_not_changed_and_can_be_gone_back_to():
    problem = Ant()
    params = weights_of(problem, 2)
    start = problem.init_state(params, seeds=SEEDS[:2])
    kept = copy.deepcopy(start)
    once, again = (problem.step(params, start, np.zeros(2, int), seeds=SEEDS[:2]) for _ in "ab")
    assert all(np.array_equal(start[name], kept[name]) for name in kept)
    assert np.array_equal(once[1], again[1])
    assert all(np.array_equal(once[0][name], again[0][name]) for name in kept)


def test_actions_are_clipped_before_they_cost_anything():
    as_is, clipped = HalfCheetah(), HalfCheetah(clip_actions=True)
    params = weights_of(as_is, 4, scale=3.0)
    state = as_is.init_state(params, seeds=SEEDS)
    actions, bounded = as_is.act(params, state), clipped.act(params, state)
    assert np.abs(actions).max() > 1 and np.array_equal(bounded, np.clip(actions, -1, 1))
    (_, losses), (_, less) = (
        problem.step(params, state, np.zeros(4, int), seeds=SEEDS) for problem in (as_is, clipped)
    )
    # The motors clip by themselves, so that the two differ in their cost alone.
    costs = 0.1 * (np.square(actions) - np.square(bounded)).sum(1)
    np.testing.assert_allclose(losses - less, costs, rtol=1e-12)


def test_a_simulation_that_explodes_is_a_loss_of_nan_for_its_row_alone():
    problem = Swimmer()
    params = weights_of(problem, 4)
    state = problem.init_state(params, seeds=SEEDS)
    _, losses = problem.step(params, state, np.zeros(4, int), seeds=SEEDS)
    problem.velocities(state)[2] = 1e12
    for _ in range(2):
        _, broken = problem.step(params, state, np.zeros(4, int), seeds=SEEDS)
        assert np.isnan(broken[2]) and np.array_equal(np.delete(broken, 2), np.delete(losses, 2))
    _, fine = problem.step(params[:2], problem.init_state(params, seeds=SEEDS[:2]), 0, seeds=None)
    assert np.array_equal(fine, losses[:2])


def test_problems_are_values():
    problem = Hopper(policy=MLPPolicy((4,)), normalize_over=50)
    params = problem.init_params(key=KEY)
    _ = problem.normalization
    there = pickle.loads(pickle.dumps(problem))
    assert vars(there) == {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}
    assert there == problem == Hopper(policy=MLPPolicy((4,)), normalize_over=50)
    assert hash(there) == hash(problem)
    assert len({problem, Hopper(), Walker2d(), Hopper(policy=LinearPolicy(0.5)), there}) == 4
    rows = jax.tree.map(lambda x: np.asarray(x)[None], params)
    one, other = (play(p, rows, SEEDS[:1], 5)[0] for p in (problem, there))
    assert all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Swimmer(horizon=0), "horizon must be an integer of at least 1, got 0"),
        (lambda: Ant(normalize_over=-1), "normalize_over must be an integer of at least 0"),
        (lambda: Ant(num_threads=0), "num_threads must be an integer of at least 1, got 0"),
        (lambda: LinearPolicy(-1.0), "scale must be a finite number of at least 0, got -1.0"),
        (lambda: MLPPolicy((8, 0)), "hidden\\[1\\] must be an integer of at least 1, got 0"),
        (
            lambda: Swimmer().render(np.zeros((2, 8)), seed=0, num_steps=3, every=0),
            "every must be an integer of at least 1, got 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("missing", ["mujoco", "gymnasium"])
def test_without_mujoco_the_problems_can_be_made_but_not_run(missing):
    code = f"""
import sys
sys.modules["{missing}"] = None
import jax
from unspool.problems.control import Swimmer
problem = Swimmer()
assert "mujoco" not in sys.modules or "{missing}" == "mujoco"
try:
    problem.init_params(key=jax.random.key(0))
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'unspool[control]'" in done.stdout, done.stderr


def test_a_batch_larger_than_it_needs_to_be_is_used_in_part():
    rows = MujocoRows(load_model("swimmer.xml"), None)
    state, carried = rows.begin(np.zeros((3, 5)), np.zeros((3, 5)))
    assert carried == {} and state.shape[0] == 3
    rows.advance(state, np.ones((3, 2)), 1)
    one, _, lost = rows.advance(state[:1], np.zeros((1, 2)), 1)
    assert lost is None and one.shape == state[:1].shape
    assert not np.any(one[:, rows.velocities])
