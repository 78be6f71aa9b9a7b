"""Environments of Gymnasium: totals as a plain loop has them, ends, spaces, failures, learning."""

import dataclasses
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool._random import Purpose, stream
from unspool.problems import EarlyEnd
from unspool.problems.control import GymnasiumProblem

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces


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


class Walk(gymnasium.Env):
    """Three to nine steps, drawn at the reset; rewards that tell every step from every other."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.t = self.np_random.integers(3, 10), 0
        self.x = self.np_random.normal()
        return self._look(), {}

    def step(self, action):
        self.t += 1
        self.x = 0.9 * self.x + action[0] + 0.1 * self.np_random.normal()
        return self._look(), self.x + 10.0**-self.t, bool(self.t == self.length), False, {}

    def _look(self):
        return np.array([1.0, self.x])


class ShowsNextEpisode(gymnasium.Wrapper):
    """Resets itself with the last step of an episode, and shows the next one's start."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            observation, info = self.env.reset()
        return observation, reward, terminated, truncated, info


class ReportsLate(gymnasium.Wrapper):
    """Takes a further step to reset itself, and reports the end with it."""

    waits = False

    def reset(self, *, seed=None, options=None):
        self.waits = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        if self.waits:
            observation, info = self.env.reset()
            return observation, 1000.0, True, False, info
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.waits = terminated or truncated
        return observation, reward, False, False, info


class Failing(Walk):
    """Breaks in the third step of every second episode."""

    def reset(self, *, seed=None, options=None):
        self.breaks = seed % 2 == 1
        return super().reset(seed=seed)

    def step(self, action):
        if self.breaks and self.t == 2:
            raise RuntimeError("the motor is broken")
        return super().step(action)


class Tank(gymnasium.Env):
    """`EarlyEnd`, with the inflow as the action: the policy's two weights are its parameters."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    # A last step that is worth much, so that it matters whether it counts.
    problem = EarlyEnd(goal=3.0)

    def reset(self, *, seed=None, options=None):
        self.level, self.t = 0.0, 0
        return self._look(), {}

    def step(self, action):
        filling = self.t < self.problem.filling
        self.level += action[0] if filling else -self.problem.drain
        self.t += 1
        loss = 0.5 * (self.level - self.problem.goal) ** 2
        over = self.t >= self.problem.filling and self.level <= 0
        return self._look(), -loss, over, False, {}

    def _look(self):
        return np.array([1.0, self.t / self.problem.horizon])


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


class Told(Walk):
    """Keeps what it was told."""

    def __init__(self, told):
        self.told = told


ENVIRONMENTS = {
    "Walk": Walk,
    "Told": Told,
    "WalkAutoreset": lambda: gymnasium.wrappers.Autoreset(Walk()),
    "WalkShowsNext": lambda: ShowsNextEpisode(Walk()),
    "WalkReportsLate": lambda: ReportsLate(Walk()),
    "WalkTruncated": lambda: gymnasium.wrappers.TimeLimit(Walk(), 4),
    "Failing": Failing,
    "Tank": Tank,
    "Doll": Doll,
}
for name, entry in ENVIRONMENTS.items():
    gymnasium.register(f"unspool/{name}-v0", entry_point=entry)


def episode_keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def environment_seeds(keys):
    """What an environment is reset with for an episode of each key."""
    words = np.array(jax.vmap(lambda key: jax.random.key_data(stream(key, Purpose.START)))(keys))
    return [int(seed) % 2**31 for seed in words.view(np.uint64)[:, 0]]


def plain_losses(id, seed, act, horizon, **options):
    """What an episode loses step by step, from a loop as anyone would write it."""
    environment = gymnasium.make(id, **options)
    observation, _ = environment.reset(seed=seed)
    losses = np.zeros(horizon)
    for t in range(horizon):
        observation, reward, terminated, truncated, _ = environment.step(act(observation))
        losses[t] = -reward
        if terminated or truncated:
            break
    return losses


def running_totals(problem, params, keys, windows):
    """The total losses of episodes after each window."""
    engine = unspool.HostEngine(problem)
    unroll = jax.jit(engine.unroll, static_argnums=2)
    trajectories, totals = engine.start(params, keys), [np.zeros(len(keys))]
    for num_steps in windows:
        trajectories, losses = unroll(params, trajectories, num_steps)
        totals.append(totals[-1] + np.array(losses[0]))
    return np.array(totals[1:]).T, np.array(trajectories.over[0]), engine


def test_cart_pole_is_played_as_in_a_plain_loop():
    weights = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], np.float32)
    keys = episode_keys(5)
    problem = GymnasiumProblem("CartPole-v1")
    assert problem.horizon == 500
    act = lambda observation: int(np.argmax(weights @ observation))
    plain = [plain_losses("CartPole-v1", seed, act, 500) for seed in environment_seeds(keys)]
    windows = [1] * 60 + [440]
    totals, over, _ = running_totals(problem, jnp.array(weights), keys, windows)
    expected = np.cumsum(plain, axis=1)[:, np.cumsum(windows) - 1]
    np.testing.assert_array_equal(totals, expected)
    # Some fall, after different numbers of steps.
    assert over.all() and len(set(expected[:, -1])) > 2
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
    totals, over, _ = running_totals(problem, jnp.array(weights), keys, [50, 50, horizon - 100])
    expected = np.cumsum(plain, axis=1)[:, [49, 99, horizon - 1]]
    np.testing.assert_allclose(totals, expected, rtol=1e-6)
    assert over.all() and GymnasiumProblem(id).horizon == limit
    # The environment's own time limit holds, whatever the horizon.
    assert np.all(np.array(plain)[:, limit:] == 0)


def test_actions_are_clipped_when_asked():
    weights = jnp.array([[100.0, 0.0, 0.0]])
    doll = lambda clip: GymnasiumProblem("Pendulum-v1", clip_actions=clip)
    simulator = doll(True).make()
    simulator.begin(seed=0)
    command = lambda clip: doll(clip).commands([simulator], np.array(weights)[np.newaxis], 0)[0]
    assert abs(command(False)[0]) > 2 and abs(command(True)[0]) == 2
    assert command(True).dtype == np.float32


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


WALK = np.array([[0.1, -0.4]], np.float32)


def walk(name, **fields):
    return GymnasiumProblem(f"unspool/{name}-v0", horizon=12, **fields)


@pytest.mark.parametrize("name", ["Walk", "WalkAutoreset", "WalkShowsNext", "WalkTruncated"])
def test_nothing_of_the_next_episode_counts(name):
    """The last step counts, and no other after it, whether the environment resets itself."""
    keys = episode_keys(6)
    act = lambda observation: WALK @ observation
    bare = "WalkTruncated" if name == "WalkTruncated" else "Walk"
    seeds = environment_seeds(keys)
    plain = [plain_losses(f"unspool/{bare}-v0", seed, act, 12) for seed in seeds]
    totals, over, _ = running_totals(walk(name), jnp.array(WALK), keys, [5, 5, 2])
    np.testing.assert_allclose(totals, np.cumsum(plain, axis=1)[:, [4, 9, 11]], rtol=1e-6)
    assert over.all() and len(set(totals[:, -1])) == 6


def test_the_step_that_only_resets_does_not_count():
    keys, windows = episode_keys(6), [5, 5, 2]
    usual, _, _ = running_totals(walk("Walk"), jnp.array(WALK), keys, windows)
    late = walk("WalkReportsLate", dead_last_step=True)
    totals, over, _ = running_totals(late, jnp.array(WALK), keys, windows)
    np.testing.assert_array_equal(totals, usual)
    assert over.all()
    wrong, _, _ = running_totals(walk("WalkReportsLate"), jnp.array(WALK), keys, windows)
    np.testing.assert_allclose(wrong[:, -1], usual[:, -1] - 1000.0, rtol=1e-5)


def test_training_does_not_see_who_resets():
    def trained(name):
        *_, last = unspool.train(
            walk(name), unspool.NRES(4, 3, 0.1), optax.sgd(0.01), num_updates=12,
            key=jax.random.key(1), log_every=4,
        )  # fmt: skip
        return last.params, last.loss

    params, loss = trained("Walk")
    assert np.abs(params).max() > 1e-3
    for name in ("WalkAutoreset", "WalkShowsNext"):
        other, other_loss = trained(name)
        np.testing.assert_array_equal(other, params)
        assert other_loss == loss


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
    first, second = problem.commands(simulators, weights, np.zeros(2, int))
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


def test_an_environment_that_fails_is_alone_with_it():
    keys = episode_keys(8)
    act = lambda observation: WALK @ observation
    seeds = environment_seeds(keys)
    plain = [plain_losses("unspool/Walk-v0", seed, act, 12).sum() for seed in seeds]
    totals, _, engine = running_totals(walk("Failing"), jnp.array(WALK), keys, [12])
    # An episode of two steps would be over before; there is none.
    broken = np.array(seeds) % 2 == 1
    assert 0 < broken.sum() < 8
    np.testing.assert_allclose(totals[:, 0], np.where(broken, np.nan, plain), rtol=1e-6)
    assert len(engine.failures) == broken.sum()
    assert "RuntimeError: the motor is broken" in engine.failures[-1]
    assert __file__ in engine.failures[-1]
    records = unspool.train(
        engine, unspool.NRES(8, 6, 0.1), optax.sgd(0.01), num_updates=4, key=keys[0],
        log_every=4, throw=False,
    )  # fmt: skip
    (last,) = records
    assert 0 < last.dropped < 4 * 8 and np.all(np.isfinite(last.params))


def test_observations_are_normalised_by_random_play():
    problem = walk("Walk", normalise_over=500)
    environment = gymnasium.make("unspool/Walk-v0")
    environment.action_space.seed(0)
    over, seen = True, []
    for step in range(500):
        if over:
            environment.reset(seed=step)
        observation, _, over, _, _ = environment.step(environment.action_space.sample())
        seen.append(observation)
    mean, deviation = np.mean(seen, axis=0), np.std(seen, axis=0)
    # The first entry is always one: it becomes zero.
    act = lambda observation: WALK @ ((observation - mean) / np.where(deviation, deviation, 1.0))
    keys = episode_keys(4)
    plain = [plain_losses("unspool/Walk-v0", s, act, 12).sum() for s in environment_seeds(keys)]
    totals, _, _ = running_totals(problem, jnp.array(WALK), keys, [12])
    np.testing.assert_allclose(totals[:, 0], plain, rtol=1e-6)
    with pytest.raises(ValueError, match="normalise_over"):
        walk("Walk", normalise_over=-1)


def bias_in_standard_errors(problem, estimator, params, num_chains=30):
    """How far chains of estimates are from the gradient of `EarlyEnd`, as `check_unbiased` says."""
    early = Tank.problem
    engine = unspool.HostEngine(problem)
    num_windows = estimator.num_windows(early.horizon)
    running_in, num_estimates = 3 * num_windows, 2 * num_windows

    @jax.jit
    def run(keys):
        def estimate(workers, _):
            estimate, workers = estimator.estimate(engine, params, workers)
            return workers, (estimate.grad, estimate.stats["episodes"])

        def chain(_, key):
            workers = estimator.init(engine, params, key=key)
            _, found = jax.lax.scan(estimate, workers, length=running_in + num_estimates)
            grads, episodes = jax.tree.map(lambda x: jnp.sum(x[running_in:], axis=0), found)
            return None, (grads / num_windows, episodes / estimator.num_workers)

        return jax.lax.scan(chain, None, keys)[1]

    grads, episodes = jax.device_get(run(episode_keys(num_chains, seed=7)))
    exact = early.exact_gradient(params[0], estimator.target(early.horizon))
    deviation = grads[:, 0] - np.outer(episodes, exact)
    return deviation.mean(0) / (deviation.std(0, ddof=1) / math.sqrt(num_chains))


@pytest.mark.parametrize("kind", [unspool.NRES, pytest.param(unspool.PES, marks=pytest.mark.slow)])
def test_gradients_are_right_though_arms_end_at_different_times(kind):
    params, estimator = jnp.array([[0.4, 0.2]]), kind(10, 5, 0.2)
    tank = GymnasiumProblem("unspool/Tank-v0", horizon=Tank.problem.horizon)
    assert np.all(np.abs(bias_in_standard_errors(tank, estimator, params)) < 3.5)
    # Without the loss of an episode's last step they are not.
    wrong = GymnasiumProblem(tank.id, horizon=tank.horizon, dead_last_step=True)
    assert np.any(np.abs(bias_in_standard_errors(wrong, estimator, params)) > 5)


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
