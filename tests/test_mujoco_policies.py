"""Policies of bodies in MuJoCo, the observations that they see, and training them."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support import mujoco_bodies
from support.mujoco_bodies import KEY, SEEDS
from unspool.problems.control import Ant, Hopper, LinearPolicy, MLPPolicy, Swimmer

folder = mujoco_bodies.folder


@pytest.mark.parametrize("kind", [Hopper, Ant])
def test_observations_are_normalized_by_the_same_numbers_everywhere(kind):
    # More than the horizon for each player, so that some begin anew by its end.
    problem = kind(normalize_over=1001, horizon=40)
    there = pickle.loads(pickle.dumps(kind(normalize_over=1001, horizon=40, num_threads=1)))
    measured = problem.normalization
    for one, other in zip(
        dataclasses.astuple(measured), dataclasses.astuple(there.normalization), strict=True
    ):
        assert np.array_equal(one, other)
    assert np.all(measured.deviation > 0) and np.all(np.isfinite(measured.mean))
    state = problem.init_state(None, seeds=SEEDS)
    # A matrix that picks out observations, and equal rows of both arms of a pair.
    seen = (problem.observe(state) - measured.mean) / measured.deviation
    params = np.repeat(np.eye(len(measured.mean))[None, :3], 4, axis=0)
    assert np.array_equal(problem.act(params, state), seen[:, :3])
    assert problem.normalization is measured
    assert not np.array_equal(problem.act(params, state), kind().act(params, state))


def test_normalized_observations_of_random_play_are_standard():
    problem = Swimmer(normalize_over=640)
    generator = np.random.default_rng(5)
    state, seen = problem.init_state(None, seeds=np.arange(64, dtype=np.uint64)), []
    for _ in range(40):
        state, _ = problem.take(state, generator.uniform(-1, 1, (64, 2)))
        seen.append(problem.observe(state))
    normal = problem.normalization.apply(np.concatenate(seen))
    # Observations of an episode hang together: sixteen episodes measured these.
    assert np.all(np.abs(normal.mean(0)) < 4 * 16**-0.5)
    assert np.all(np.abs(np.log(normal.std(0))) < 1)


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


def test_training_copes_with_arms_that_end_at_different_times():
    problem = Hopper(policy=LinearPolicy(0.03), horizon=60)
    estimator = unspool.NRES(8, 5, 0.3)
    apart = 0
    for record in unspool.train(
        problem, estimator, optax.sgd(0.01), num_updates=12, key=KEY, log_every=1
    ):
        assert np.isfinite(record.loss) and np.isfinite(record.grad_norm) and record.dropped == 0
        done = np.asarray(record.state.workers[0].trajectories.arms.done)
        apart += np.count_nonzero(done[0] != done[1])
    assert apart > 5


@pytest.mark.slow
def test_training_is_repeated_and_resumed_bit_by_bit(tmp_path):
    estimator, optimizer = unspool.NRES(4, 10, 0.3), optax.adam(0.1)
    train = lambda problem, **options: list(
        unspool.train(problem, estimator, optimizer, num_updates=6, log_every=2, **options)
    )
    make = lambda: Ant(horizon=25, normalize_over=100, clip_actions=True)
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
