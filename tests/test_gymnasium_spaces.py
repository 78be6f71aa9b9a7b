"""Spaces of Gymnasium: any observation becomes one vector, and outputs become any action."""

import jax
import numpy as np
import optax
import pytest

import unspool
from support.gymnasium_walk import gymnasium, spaces, walk
from unspool.problems.control import GymnasiumProblem

OBSERVATIONS = {
    "image": spaces.Box(0, 255, (3, 4, 2), np.uint8),
    "choice": spaces.Discrete(5, start=2),
    "choices": spaces.MultiDiscrete([2, 3]),
    "bits": spaces.MultiBinary(3),
    "dictionary": spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-1, 1, (2,))}),
    "tuple": spaces.Tuple([spaces.Box(0, 1, ()), spaces.MultiBinary(2)]),
    "sequence": spaces.Sequence(spaces.Discrete(2)),
}
ACTIONS = {
    "choice": spaces.Discrete(3),
    "started": spaces.Discrete(3, start=-1),
    "choices": spaces.MultiDiscrete([2, 3]),
    "choices started": spaces.MultiDiscrete([2, 2], start=[4, 8]),
    "choices in rows": spaces.MultiDiscrete([[2], [2]]),
    "bits": spaces.MultiBinary((3, 1)),
    "box": spaces.Box(-9, 9, (2, 2)),
    "whole numbers": spaces.Box(0, 9, (2,), np.int64),
    "dictionary": spaces.Dict({"a": spaces.Discrete(2)}),
}


class Doll(gymnasium.Env):
    """Takes any action and shows any observation, and rewards nothing."""

    def __init__(self, observations, actions):
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]
        self.observation_space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.observation_space.sample(), 0.0, False, False, {}


gymnasium.register("unspool/Doll-v0", entry_point=Doll)


def doll(observations, actions):
    options = {"observations": observations, "actions": actions}
    return GymnasiumProblem("unspool/Doll-v0", horizon=4, make_options=options)


@pytest.mark.parametrize(
    ("name", "size"),
    [("image", 24), ("choice", 5), ("choices", 5), ("bits", 3), ("dictionary", 5), ("tuple", 3)],
)
def test_observations_of_any_kind_become_one_vector(name, size):
    problem, key = doll(name, "choice"), jax.random.key(0)
    assert problem.init_params(key=key).shape == (3, size)
    simulator = problem.make()
    simulator.begin(seed=0)
    assert simulator.observation.shape == (size,) and simulator.observation.dtype == float
    flat = spaces.utils.flatten(OBSERVATIONS[name], simulator.environment.reset(seed=0)[0])
    assert flat.shape == (size,)
    assert unspool.evaluate(problem, problem.init_params(key=key), key=key).loss == 0


@pytest.mark.parametrize(
    ("name", "outputs", "action"),
    [
        ("choice", [1, 5, 2], 1),
        ("started", [1, 5, 9], 1),
        ("choices", [0, 1, 7, 5, 6], [1, 0]),
        ("choices started", [0, 1, 7, 5], [5, 8]),
        ("choices in rows", [0, 1, 7, 5], [[1], [0]]),
        ("bits", [0.1, -2, 3], [[1], [0], [1]]),
        ("box", [1, 2, 3, 4], [[1, 2], [3, 4]]),
    ],
)
def test_outputs_become_actions(name, outputs, action):
    problem = doll("bits", name)
    shape = problem.init_params(key=jax.random.key(0)).shape
    assert shape == (len(outputs), 3)
    simulators = [problem.make() for _ in range(2)]
    for simulator in simulators:
        simulator.observation = np.array([1.0, 0.0, 0.0])
    weights = np.zeros((2, *shape))
    weights[0, :, 0] = outputs
    first, second = problem.actions(simulators, weights, np.zeros(2, int))
    np.testing.assert_array_equal(first, action)
    assert ACTIONS[name].contains(first) and ACTIONS[name].contains(second)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="CartPol"):
        GymnasiumProblem("CartPol-v1")
    with pytest.raises(ValueError, match="no time limit of its own: give it a horizon"):
        GymnasiumProblem("unspool/Walk-v0")
    with pytest.raises(ValueError, match=r"observations must be .*Sequence\(Discrete\(2\)"):
        doll("sequence", "choice")
    for name, named in (("dictionary", "Dict"), ("whole numbers", "int64")):
        with pytest.raises(ValueError, match=f"actions must be .*Doll.*{named}"):
            doll("bits", name)
    with pytest.raises(ValueError, match=r"horizon.*got 0"):
        GymnasiumProblem("CartPole-v1", horizon=0)
    with pytest.raises(ValueError, match="make_options.*hashable.*for 'x': unhashable type: 'set'"):
        GymnasiumProblem("CartPole-v1", make_options={"x": [{1}]})
    problem, key = walk("Walk"), jax.random.key(0)
    with pytest.raises(ValueError, match="keep their state to themselves.*NRES"):
        unspool.make_step(problem, unspool.TruncatedES(4, 3, 0.1), optax.sgd(0.1))[0](
            problem.init_params(key=key), key=key
        )
