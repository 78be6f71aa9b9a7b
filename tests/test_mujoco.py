"""Bodies that learn to move: against Gymnasium's own, and as problems to train on."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import types
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool.problems.control import (
    Ant,
    HalfCheetah,
    Hopper,
    LinearPolicy,
    MLPPolicy,
    Swimmer,
    Walker2d,
)
from unspool.problems.control.mujoco_rows import MujocoRows, import_mujoco, load_model

gymnasium = pytest.importorskip("gymnasium")
try:
    # The library's own way, which looks for something to draw with. Tests are collected before the
    # first one can import it in another.
    import_mujoco()
except ImportError:
    pytest.skip("there is no MuJoCo here", allow_module_level=True)

KEY = jax.random.key(0)
PROBLEMS = [Swimmer, HalfCheetah, Hopper, Walker2d, Ant]
SEEDS = np.array([0, 7, 2**32 + 5, 2**63 + 11], np.uint64)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """MuJoCo writes what it warns of into the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mujoco"))
        # Gymnasium's MuJoCo environments import what they write films with.
        try:
            import imageio  # noqa: F401
        except ImportError:
            patch.setitem(sys.modules, "imageio", types.ModuleType("imageio"))
        yield


def weights_of(problem, count, scale=0.3, seed=0):
    """A matrix for each row; the later the row, the wilder."""
    shape = problem.init_params(key=KEY).shape
    wildness = scale * np.linspace(0.2, 1.0, count)[:, None, None]
    return (wildness * np.random.default_rng(seed).normal(size=(count, *shape))).astype(np.float32)


def play(problem, params, seeds, num_steps):
    """Observations, rewards and ends of each step, and the last state, in rows of several."""
    state = problem.init_state(params, seeds=seeds)
    history = []
    for t in range(num_steps):
        state, losses = problem.step(params, state, np.full(len(seeds), t), seeds=seeds)
        history.append((problem.observe(state), losses, problem.is_over(state)))
    return [np.stack(values) for values in zip(*history, strict=True)], state


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
        observations, over = problem.observe(state), problem.is_over(state)
        for i in sorted(running):
            observation, reward, ended, _, _ = environments[i].step(actions[i])
            if not np.array_equal(observation, observations[i]):
                found.append(("observation", i, t))
            if reward != -losses[i]:
                found.append(("reward", i, t))
            if ended != over[i]:
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
    def is_over(self, state):
        return super().is_over(state) & (self.positions(state)[:, 1] < 0.69)


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


@pytest.mark.parametrize("kind", [Hopper, Ant])
def test_observations_are_normalised_by_the_same_numbers_everywhere(kind):
    # More than the horizon for each player, so that some begin anew by its end.
    problem = kind(normalise_over=1001, horizon=40)
    there = pickle.loads(pickle.dumps(kind(normalise_over=1001, horizon=40, num_threads=1)))
    measured = problem.normalisation
    for one, other in zip(
        dataclasses.astuple(measured), dataclasses.astuple(there.normalisation), strict=True
    ):
        assert np.array_equal(one, other)
    assert np.all(measured.deviation > 0) and np.all(np.isfinite(measured.mean))
    state = problem.init_state(None, seeds=SEEDS)
    # A matrix that picks out observations, and equal rows of both arms of a pair.
    seen = (problem.observe(state) - measured.mean) / measured.deviation
    params = np.repeat(np.eye(len(measured.mean))[None, :3], 4, axis=0)
    assert np.array_equal(problem.act(params, state), seen[:, :3])
    assert problem.normalisation is measured
    assert not np.array_equal(problem.act(params, state), kind().act(params, state))


def test_normalised_observations_of_random_play_are_standard():
    problem = Swimmer(normalise_over=640)
    generator = np.random.default_rng(5)
    state, seen = problem.init_state(None, seeds=np.arange(64, dtype=np.uint64)), []
    for _ in range(40):
        state, _ = problem.take(state, generator.uniform(-1, 1, (64, 2)))
        seen.append(problem.observe(state))
    normal = problem.normalisation.apply(np.concatenate(seen))
    # Observations of an episode hang together: sixteen episodes measured these.
    assert np.all(np.abs(normal.mean(0)) < 4 * 16**-0.5)
    assert np.all(np.abs(np.log(normal.std(0))) < 1)


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
    problem = Hopper(policy=MLPPolicy((4,)), normalise_over=50)
    params = problem.init_params(key=KEY)
    _ = problem.normalisation
    there = pickle.loads(pickle.dumps(problem))
    assert vars(there) == {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}
    assert there == problem == Hopper(policy=MLPPolicy((4,)), normalise_over=50)
    assert hash(there) == hash(problem)
    assert len({problem, Hopper(), Walker2d(), Hopper(policy=LinearPolicy(0.5)), there}) == 4
    rows = jax.tree.map(lambda x: np.asarray(x)[None], params)
    one, other = (play(p, rows, SEEDS[:1], 5)[0] for p in (problem, there))
    assert all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("policy", [LinearPolicy(1.0), MLPPolicy(), MLPPolicy((5,)), MLPPolicy(())])
def test_policies_are_those_of_a_loop_in_numpy_and_in_jax(policy, float64):
    count = 6
    keys = jax.random.split(KEY, count)
    params = jax.device_get(jax.vmap(lambda key: policy.init_params(7, 3, key=key))(keys))
    # Biases are zero at the start, and would not be seen.
    params = jax.tree.map(lambda x: x + 0.1 * np.arange(x.size).reshape(x.shape) / x.size, params)
    observations = np.random.default_rng(0).normal(size=(count, 7))
    actions = policy(params, observations)
    assert actions.shape == (count, 3) and isinstance(actions, np.ndarray)
    for i in range(count):
        own = jax.tree.map(lambda x, i=i: x[i], params)
        layers = [{"weights": own, "bias": 0.0}] if isinstance(policy, LinearPolicy) else own
        hidden = observations[i]
        for number, layer in enumerate(layers):
            hidden = np.array([row @ hidden for row in layer["weights"]]) + layer["bias"]
            hidden = np.tanh(hidden) if number < len(layers) - 1 else hidden
        np.testing.assert_allclose(actions[i], hidden, rtol=1e-12, atol=1e-13)
        in_jax = jax.jit(policy)(own, jnp.asarray(observations[i]))
        np.testing.assert_allclose(actions[i], in_jax, rtol=1e-12, atol=1e-13)
        alone = jax.tree.map(lambda x, i=i: x[i : i + 1], params)
        assert np.array_equal(policy(alone, observations[i : i + 1])[0], actions[i])
    # With two axes of rows, too.
    split = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), (params, observations))
    assert np.array_equal(policy(*split).reshape(count, 3), actions)


def test_policies_start_as_published():
    assert not np.any(LinearPolicy().init_params(8, 2, key=KEY))
    params = np.asarray(LinearPolicy(0.03).init_params(17, 6000, key=KEY))
    # A normal distribution with this parameter, cut at two of it.
    parameter = 0.04776
    assert params.shape == (6000, 17)
    assert 1.99 * parameter < np.abs(params).max() < 2.001 * parameter
    error = params.std() / np.sqrt(2 * params.size)
    assert abs(params.std() - (0.03 / 17) ** 0.5) < 4 * error
    assert abs(params.mean()) < 4 * params.std() / np.sqrt(params.size)
    first, _, last = MLPPolicy((400, 400)).init_params(100, 5, key=KEY)
    assert abs(np.std(first["weights"]) - 0.1) < 0.002
    assert abs(np.std(last["weights"]) - 5e-4) < 5e-5
    assert not any(np.any(layer["bias"]) for layer in (first, last))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Swimmer(horizon=0), "horizon must be an integer of at least 1, got 0"),
        (lambda: Ant(normalise_over=-1), "normalise_over must be an integer of at least 0"),
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


def test_training_copes_with_arms_that_end_at_different_times():
    problem = Hopper(policy=LinearPolicy(0.03), horizon=60)
    estimator = unspool.NRES(8, 5, 0.3)
    apart = 0
    for record in unspool.train(
        problem, estimator, optax.sgd(0.01), num_updates=12, key=KEY, log_every=1
    ):
        assert np.isfinite(record.loss) and np.isfinite(record.grad_norm) and record.dropped == 0
        over = np.asarray(record.state.workers.trajectories.over)
        apart += np.count_nonzero(over[0] != over[1])
    assert apart > 5


def test_training_is_repeated_and_resumed_bit_by_bit(tmp_path):
    estimator, optimizer = unspool.NRES(4, 10, 0.3), optax.adam(0.1)
    train = lambda problem, **options: list(
        unspool.train(problem, estimator, optimizer, num_updates=6, log_every=2, **options)
    )
    make = lambda: Ant(horizon=25, normalise_over=100, clip_actions=True)
    first = []
    for record in unspool.train(make(), estimator, optimizer, num_updates=6, log_every=2, key=KEY):
        first.append(record)
        if record.update == 2:
            unspool.save_checkpoint(tmp_path / "state.npz", record.state)
    again = train(make(), key=KEY)
    like = jax.eval_shape(lambda: again[-1].state)
    resumed = train(make(), key=KEY, state=unspool.load_checkpoint(tmp_path / "state.npz", like))
    assert [record.update for record in resumed] == [4, 6]
    for one, other in ((first[-1], again[-1]), (first[-1], resumed[-1])):
        assert one.loss == other.loss and np.any(one.params)
        assert np.array_equal(one.params, other.params)


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


def test_a_batch_larger_than_it_needs_to_be_is_used_in_part():
    rows = MujocoRows(load_model("swimmer.xml"), None)
    state, carried = rows.begin(np.zeros((3, 5)), np.zeros((3, 5)))
    assert carried == {} and state.shape[0] == 3
    rows.advance(state, np.ones((3, 2)), 1)
    one, _, lost = rows.advance(state[:1], np.zeros((1, 2)), 1)
    assert lost is None and one.shape == state[:1].shape
    assert not np.any(one[:, rows.velocities])
