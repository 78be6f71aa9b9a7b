"""Environments of Gymnasium: totals as a plain loop has them, options, and learning."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.gymnasium_walk import (
    WALK,
    Walk,
    environment_seeds,
    episode_keys,
    gymnasium,
    plain_losses,
    running_totals,
    walk,
)
from unspool.problems.control import GymnasiumProblem


class Told(Walk):
    """Keeps what it was told."""

    def __init__(self, told):
        self.told = told


gymnasium.register("unspool/Told-v0", entry_point=Told)


def test_cart_pole_is_played_as_in_a_plain_loop():
    weights = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], np.float32)
    keys = episode_keys(5)
    problem = GymnasiumProblem("CartPole-v1")
    assert problem.horizon == 500
    act = lambda observation: int(np.argmax(weights @ observation))
    plain = [plain_losses("CartPole-v1", seed, act, 500) for seed in environment_seeds(keys)]
    windows = [1] * 60 + [440]
    totals, done, _ = running_totals(problem, jnp.array(weights), keys, windows)
    expected = np.cumsum(plain, axis=1)[:, np.cumsum(windows) - 1]
    np.testing.assert_array_equal(totals, expected)
    # Some fall, after different numbers of steps.
    assert done.all() and len(set(expected[:, -1])) > 2
    evaluation = unspool.evaluate(problem, jnp.array(weights), key=jax.random.key(0))
    assert -500 * evaluation.loss == round(-500 * float(evaluation.loss), 3) >= 8


@pytest.mark.parametrize(
    ("id", "horizon", "limit"),
    [("Pendulum-v1", 230, 200), ("MountainCarContinuous-v0", 120, 999)],
)
def test_a_box_takes_the_outputs_as_they_are(id, horizon, limit):
    keys = episode_keys(3)
    problem = GymnasiumProblem(id, horizon=horizon)
    size = problem.init_params(key=keys[0]).shape[1]
    weights = np.linspace(-1, 3, size, dtype=np.float32)[np.newaxis]
    act = lambda observation: (weights @ observation.astype(float)).astype(np.float32)
    plain = [plain_losses(id, seed, act, horizon) for seed in environment_seeds(keys)]
    totals, done, _ = running_totals(problem, jnp.array(weights), keys, [50, 50, horizon - 100])
    expected = np.cumsum(plain, axis=1)[:, [49, 99, horizon - 1]]
    np.testing.assert_allclose(totals, expected, rtol=1e-6)
    assert done.all() and GymnasiumProblem(id).horizon == limit
    # The environment's own time limit holds, whatever the horizon.
    assert np.all(np.array(plain)[:, limit:] == 0)


def test_actions_are_clipped_when_asked():
    weights = jnp.array([[100.0, 0.0, 0.0]])
    doll = lambda clip: GymnasiumProblem("Pendulum-v1", clip_actions=clip)
    simulator = doll(True).make()
    simulator.begin(seed=0)
    action = lambda clip: doll(clip).actions([simulator], np.array(weights)[np.newaxis], 0)[0]
    assert abs(action(False)[0]) > 2 and abs(action(True)[0]) == 2
    assert action(True).dtype == np.float32


@pytest.mark.parametrize("id", ["CliffWalking-v1", "FrozenLake-v1"])
def test_a_choice_is_observed_as_one_of_many(id):
    keys = episode_keys(4)
    problem = GymnasiumProblem(id, horizon=50)
    num_actions, num_states = problem.init_params(key=keys[0]).shape
    weights = np.random.default_rng(0).normal(size=(num_actions, num_states)).astype(np.float32)
    act = lambda observation: int(np.argmax(weights[:, observation]))
    seeds = environment_seeds(keys)
    plain = [plain_losses(id, seed, act, problem.horizon).sum() for seed in seeds]
    totals, _, _ = running_totals(problem, jnp.array(weights), keys, [problem.horizon])
    np.testing.assert_allclose(totals[:, 0], plain)


def test_options_of_make_reach_the_environment():
    pairs = (("map_name", "8x8"), ("is_slippery", False))
    problem = GymnasiumProblem("FrozenLake-v1", make_options=pairs)
    assert problem.init_params(key=jax.random.key(0)).shape == (4, 64)
    same = GymnasiumProblem("FrozenLake-v1", make_options=dict(pairs))
    assert same == problem and hash(same) == hash(problem)
    assert pickle.loads(pickle.dumps(problem)) == problem
    longer = GymnasiumProblem("CartPole-v1", make_options={"max_episode_steps": 70})
    assert longer.horizon == 70


def test_options_of_make_may_be_lists_and_dictionaries():
    """A map of one's own: equal ones make equal problems, and a change made later changes none."""
    lake = lambda rows: GymnasiumProblem("FrozenLake-v1", make_options={"desc": rows})
    rows = ["SFF", "FHG"]
    problem = lake(rows)
    assert problem.init_params(key=jax.random.key(0)).shape == (4, 6)
    assert problem == lake(list(rows)) and hash(problem) == hash(lake(list(rows)))
    assert problem != lake(["SFF", "FFG"])
    assert pickle.loads(pickle.dumps(problem)) == problem == dataclasses.replace(problem)
    rows.append("FFF")
    assert problem.init_params(key=jax.random.key(0)).shape == (4, 6)
    assert dict(problem.make_options) == {"desc": ["SFF", "FHG"]}
    desc = problem.make().environment.unwrapped.desc
    np.testing.assert_array_equal(desc, [[b"S", b"F", b"F"], [b"F", b"H", b"G"]])
    nested = lambda parts: GymnasiumProblem("unspool/Told-v0", horizon=3, make_options=parts)
    told = nested({"told": {"list": [1, (2, [3])], "none": {}}})
    assert told == nested({"told": {"none": {}, "list": [1, (2, [3])]}})
    assert len({told, nested({"told": {"none": {}, "list": [1, (2, [3])]}}), problem}) == 2
    for _ in range(2):
        # The environment gets plain ones of its own, and changes them.
        given = told.make().environment.unwrapped.told
        assert given == {"list": [1, (2, [3])], "none": {}}
        assert type(given) is dict and type(given["list"]) is list
        given["list"].append(4)


def test_observations_are_normalized_by_random_play():
    problem = walk("Walk", normalize_over=500)
    environment = gymnasium.make("unspool/Walk-v0")
    environment.action_space.seed(0)
    done, seen = True, []
    for step in range(500):
        if done:
            environment.reset(seed=step)
        observation, _, done, _, _ = environment.step(environment.action_space.sample())
        seen.append(observation)
    mean, deviation = np.mean(seen, axis=0), np.std(seen, axis=0)
    # The first entry is always one: it becomes zero.
    act = lambda observation: WALK @ ((observation - mean) / np.where(deviation, deviation, 1.0))
    keys = episode_keys(4)
    plain = [plain_losses("unspool/Walk-v0", s, act, 12).sum() for s in environment_seeds(keys)]
    totals, _, _ = running_totals(problem, jnp.array(WALK), keys, [12])
    np.testing.assert_allclose(totals[:, 0], plain, rtol=1e-6)
    with pytest.raises(ValueError, match="normalize_over"):
        walk("Walk", normalize_over=-1)


@pytest.mark.slow
def test_cart_pole_is_learned():
    """From falling over at once, as with weights of zero, in three of three trainings."""
    problem = GymnasiumProblem("CartPole-v1")
    mean_return = lambda params, key: (
        -500 * unspool.evaluate(problem, params, key=key, num_episodes=20).loss
    )
    for seed in range(3):
        key = jax.random.key(seed)
        *_, last = unspool.train(
            problem, unspool.NRES(10, 100, 0.5), optax.adam(0.1), num_updates=20, key=key,
            log_every=20,
        )  # fmt: skip
        assert mean_return(problem.init_params(key=key), key) < 50
        assert mean_return(last.params, key) > 150


def test_an_environment_registered_anew_is_the_one_played():
    """By a problem made before as well as after, and of one that is equal to it."""

    class Pays(Walk):
        pays = 1.0

        def step(self, action):
            observation, _, terminated, truncated, info = super().step(action)
            return observation, self.pays, terminated, truncated, info

    class PaysMore(Pays):
        pays = 3.0

    def evaluate(problem):
        params = problem.init_params(key=jax.random.key(0))
        return float(unspool.evaluate(problem, params, key=jax.random.key(0), num_episodes=2).loss)

    options = {"id": "unspool/Changing-v0", "max_episode_steps": 5}
    gymnasium.register(entry_point=Pays, **options)
    try:
        old = GymnasiumProblem(options["id"])
        before = evaluate(old)
        del gymnasium.registry[options["id"]]
        gymnasium.register(entry_point=PaysMore, **options)
        new = GymnasiumProblem(options["id"])
        assert new == old
        assert evaluate(old) == evaluate(new) == 3 * before != 0
    finally:
        del gymnasium.registry[options["id"]]
