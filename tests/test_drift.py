"""Steps that follow sigma: in proportion to it, or cut where they drift too far."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import problems

KEY = jax.random.key(0)
CUBIC = problems.Cubic(horizon=12)


def moves(estimator, optimizer, num_updates, problem=CUBIC):
    """What each update adds to the parameters, and the sigma that it is made with."""
    init, step = unspool.make_step(problem, estimator, optimizer)
    step = jax.jit(step)
    state = init(problem.init_params(key=KEY), key=KEY)
    found = []
    for _ in range(num_updates):
        sigma = estimator.current_sigma(state.workers)
        after, _ = step(state)
        moved = jax.tree.map(lambda x, y: np.asarray(x - y), after.params, state.params)
        found.append((moved, sigma))
        state = after
    return found


def test_steps_are_in_proportion_to_sigma_over_the_windows_of_an_episode():
    """Signs as updates: each entry moves as far as its rate in sigmas says."""
    signs = optax.chain(optax.sign_sgd(0.8), unspool.scale_by_sigma())
    schedule = lambda update: 0.1 * 0.5**update
    for moved, sigma in moves(unspool.NRES(4, 3, schedule), signs, 3):
        for entry in moved.values():
            np.testing.assert_allclose(abs(entry), 0.8 * sigma / 4, rtol=1e-4)
    tree = {"level": jnp.array(0.1), "slope": jnp.array(0.01)}
    ((moved, _),) = moves(unspool.NRES(4, 3, unspool.Annealing(tree, floor=tree)), signs, 1)
    for name, entry in moved.items():
        np.testing.assert_allclose(abs(entry), 0.8 * tree[name] / 4, rtol=1e-3)


@pytest.mark.parametrize("transformation", [unspool.scale_by_sigma(), unspool.clip_by_drift(1.0)])
def test_steps_cannot_follow_a_sigma_that_is_not_there(transformation):
    init, _ = unspool.make_step(
        CUBIC, unspool.TBPTT(2, 3), optax.chain(optax.sgd(0.1), transformation)
    )
    with pytest.raises(ValueError, match="needs the sigma of an estimator that perturbs"):
        init(CUBIC.init_params(key=KEY), key=KEY)


def drift(steps, limit, sigma, windows=5):
    """The steps that `clip_by_drift` leaves of some."""
    transformation = unspool.clip_by_drift(limit)
    state, left = transformation.init(steps[0]), []
    for step in steps:
        step, state = transformation.update(step, state, pace=sigma, num_windows=windows)
        left.append(np.asarray(step))
    return np.array(left)


def test_steps_of_an_episode_are_cut_to_the_limit():
    rate = 3.0 * jnp.array([1.0, -1.0])
    left = drift([rate] * 15, 2.0, 0.1)
    np.testing.assert_allclose(abs(left.reshape(3, 5, 2).sum(1)), 0.2, rtol=1e-5)
    # Noise adds up to less, and each of its steps may be larger than a fifth of the limit.
    rng = np.random.default_rng(0)
    noise = [jnp.asarray(rng.choice([-1.0, 1.0], 2000)) for _ in range(50)]
    left = drift(noise, 2.0, 0.1)[25:].reshape(-1, 5, 2000)
    np.testing.assert_allclose(np.mean(left.sum(1) ** 2, axis=1) ** 0.5, 0.2, rtol=0.1)
    assert np.all(abs(left) > 0.2 / 5 * 1.8)


def test_small_steps_are_left_as_they_are_and_sigma_may_fall_or_be_a_tree():
    steps = [jnp.array([0.01, -0.02])] * 12
    np.testing.assert_allclose(drift(steps, 2.0, 1.0), np.asarray(steps), rtol=1e-6)
    transformation, sigma = unspool.clip_by_drift(1.0), {"a": 1.0, "b": 0.01}
    steps = {"a": jnp.array(1.0), "b": jnp.array(0.01)}
    left, _ = transformation.update(
        steps, transformation.init(steps), pace=sigma, num_windows=jnp.array(10)
    )
    np.testing.assert_allclose([left["a"], left["b"]], [0.1, 0.001], rtol=1e-5)


def test_a_limit_is_a_number_above_zero():
    with pytest.raises(ValueError, match="limit must be a number of sigmas above 0, got 0.0"):
        unspool.clip_by_drift(0.0)
