"""The closed-form gradients of problems against a simulation written here."""

import functools as ft
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
import unspool.problems as problems
from support.episodes import is_done, weight
from support.problems import KEY_SEED, initial_params
from support.slow import slow
from unspool._target import Target

# --- The simulation: every step by itself, with a copy of the parameters of its own. ---


def window_losses(problem, params, noise, target, length, key):
    """For each window the function of a common shift whose gradient the target asks for.

    `noise[b]`, a tree like `params`, perturbs the copies of block `b`.
    """
    window, period = target.window or problem.horizon, target.period or problem.horizon

    def advance(state, done, copy, t):
        stepped, loss = problem.step(copy, state, t, key=jax.random.fold_in(key, t))
        state = jax.tree.map(lambda old, new: jnp.where(done, old, new), state, stepped)
        loss = jnp.where(done, 0, loss * weight(problem, jnp.array(length)))
        return state, done | is_done(problem, state), loss

    def loss_of_window(start, state, done, shift):
        perturbed = lambda t: jax.tree.map(lambda *xs: sum(xs), params, shift, noise[t // period])
        if start == 0:
            state = problem.init_state(perturbed(0), key=key)
            done = is_done(problem, state)
        total = 0.0
        for t in range(start, min(start + window, length)):
            state, done, loss = advance(state, done, perturbed(t), t)
            total = total + loss
        return total

    state = problem.init_state(params, key=key)
    done = is_done(problem, state)
    for start in range(0, length, window):
        yield ft.partial(loss_of_window, start, state, done)
        for t in range(start, min(start + window, length)):
            state, done, _ = advance(state, done, params, t)


def pathwise_gradient(problem, params, noise, target, key=None):
    """One sample of the target, by differentiating along the perturbed trajectory."""
    key = jax.random.key(KEY_SEED) if key is None else key
    lengths = getattr(problem, "lengths", (problem.horizon,))

    def total(shift):
        windows = [
            loss(shift)
            for length in lengths
            for loss in window_losses(problem, params, noise, target, length, key)
        ]
        return sum(windows) / len(lengths) / problem.horizon

    return jax.grad(total)(jax.tree.map(jnp.zeros_like, params))


def count_blocks(problem, target):
    return -(-problem.horizon // (target.period or problem.horizon))


def to_noise(z, problem, params, target):
    """Standard normal numbers (blocks, params) as the list of noises of the blocks."""
    _, unravel = jax.flatten_util.ravel_pytree(params)
    sigma = target.sigma
    if jax.tree.structure(sigma) != jax.tree.structure(params):
        sigma = jax.tree.map(lambda _: sigma, params)
    scale = lambda noise: jax.tree.map(lambda s, x: s * x, sigma, noise)
    return [scale(unravel(z[b])) for b in range(count_blocks(problem, target))]


def sample_gradient(problem, params, target, z):
    return pathwise_gradient(problem, params, to_noise(z, problem, params, target), target)


def quadrature_gradient(problem, params, target, nodes):
    """The target by Gauss-Hermite quadrature over all noises: exact for polynomials."""
    num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    shape = (count_blocks(problem, target), num_params)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    size = int(np.prod(shape))
    z = np.array(list(itertools.product(points, repeat=size))).reshape(-1, *shape)
    w = np.array([np.prod(x) for x in itertools.product(weights, repeat=size)])
    sample = lambda z: pathwise_gradient(
        problem, params, to_noise(z, problem, params, target), target
    )
    gradients = jax.jit(jax.vmap(sample))(jnp.asarray(z))
    return jax.tree.map(lambda g: np.tensordot(w, np.asarray(g), 1), gradients)


def assert_close(actual, expected, rtol=1e-9):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.shape(a) == np.shape(e) and np.asarray(a).dtype == np.float64
        np.testing.assert_allclose(a, e, rtol=rtol, atol=1e-11)


def assert_mean(samples, expected, most=4.0, precise=0.05):
    """Every coordinate's mean within `most` standard errors, and these small enough to tell."""
    expected = np.asarray(expected)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(axis=0) - expected) < most * error)
    assert np.all(error < precise * np.abs(expected))


# --- Gradients. ---

CLOSED = [
    problems.CosineAccumulator(frequency=0.7),
    problems.Cubic(),
    problems.EarlyEnd(),
    problems.EarlyEnd(horizon=10, filling=5, drain=0.25, goal=0.4),
    problems.FinalLoss(),
    problems.InfluenceBalancing(horizon=13, size=5, num_positive=2),
    problems.LearnedStart(),
    problems.LinearQuadratic(),
    problems.LinearQuadratic(horizon=7, size=2, num_params=1, seed=3),
    problems.RandomLength(lengths=(2, 5, 10)),
    problems.RandomLength(average_per_episode=True),
]


@pytest.mark.parametrize("window", [None, slow(1), 3, slow(5), slow(100)])
@pytest.mark.parametrize("problem", CLOSED, ids=repr)
def test_gradient_without_smoothing(problem, window, float64):
    params = jax.tree.map(lambda x: x + 0.031, initial_params(problem))
    target = Target(window=window)
    zero = [jax.tree.map(jnp.zeros_like, params)]
    expected = jax.jit(lambda params: pathwise_gradient(problem, params, zero, target))(params)
    assert_close(problem.exact_gradient(params, target), expected)


TARGETS = [(None, None), (None, 2), (2, None), (2, 4), (4, 2)]
TARGETS += [slow(None, 3), slow(3, 3), slow(3, 1)]


@pytest.mark.parametrize(("window", "period"), TARGETS)
@pytest.mark.parametrize(
    ("problem", "nodes"),
    [
        # The gradients are polynomials of degree 2 and 3 in the noise, exact with 2 nodes.
        (problems.Cubic(horizon=5), 2),
        (problems.FinalLoss(horizon=5, goal=0.3), 2),
        (problems.LearnedStart(horizon=5, size=1), 2),
        (problems.LinearQuadratic(horizon=5, num_params=2), 2),
        # Entire functions, to which the quadrature converges.
        (problems.CosineAccumulator(horizon=5), 8),
    ],
    ids=repr,
)
def test_smoothed_gradient(problem, nodes, window, period, float64):
    params = initial_params(problem)
    target = Target(window=window, period=period, sigma=0.3)
    exact = problem.exact_gradient(params, target)
    rtol = 1e-9 if nodes == 2 else 1e-6
    assert_close(exact, quadrature_gradient(problem, params, target, nodes), rtol)


@pytest.mark.parametrize(
    ("window", "period"), [slow(None, None), slow(None, 3), slow(3, 3), (4, 2), (2, 4)]
)
@pytest.mark.parametrize("average_per_episode", [False, True])
def test_smoothed_gradient_of_random_lengths(window, period, average_per_episode, float64):
    problem = problems.RandomLength(6, (2, 3, 6), average_per_episode=average_per_episode)
    params = jnp.array([0.2, -0.4])
    target = Target(window=window, period=period, sigma=0.15)
    nodes = {1: 12, 2: 8, 3: 5}[count_blocks(problem, target)]
    exact = problem.exact_gradient(params, target)
    assert_close(exact, quadrature_gradient(problem, params, target, nodes), 1e-6)


def test_gradients_take_a_sigma_for_each_leaf(float64):
    problem = problems.Cubic(horizon=5)
    params = initial_params(problem)
    target = Target(period=2, sigma={"level": 0.4, "slope": jnp.array(0.9)})
    assert_close(
        problem.exact_gradient(params, target), quadrature_gradient(problem, params, target, 2)
    )
    with pytest.raises(ValueError, match="sigma must be a scalar or a tree like params"):
        problem.exact_gradient(params, Target(sigma={"level": 0.4}))


@pytest.mark.parametrize(
    ("problem", "target"),
    [
        (problems.Cubic(horizon=9), Target(period=1, sigma=0.1)),
        (problems.CosineAccumulator(horizon=11), Target(period=1, sigma=0.3)),
        (problems.FinalLoss(horizon=10), Target(period=4, sigma=0.1)),
        (problems.LearnedStart(horizon=8), Target(period=3, sigma=0.4)),
        (problems.LearnedStart(horizon=8), Target(window=6, period=3, sigma=0.4)),
        (problems.RandomLength(), Target(period=3, sigma=0.2)),
    ],
    ids=repr,
)
def test_smoothed_gradient_of_many_blocks(problem, target, float64):
    params = initial_params(problem)
    num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    shape = (20_000, count_blocks(problem, target), num_params)
    z = jnp.asarray(np.random.default_rng(1).standard_normal(shape))
    sample = lambda z: pathwise_gradient(
        problem, params, to_noise(z, problem, params, target), target
    )
    gradients = jax.jit(jax.vmap(sample))(z)
    exact = problem.exact_gradient(params, target)
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(exact), strict=True)
    for samples, expected in pairs:
        assert_mean(np.asarray(samples), expected)


@pytest.mark.parametrize(
    "target",
    [
        Target(sigma=0.1),
        slow(Target(sigma=0.4)),
        Target(period=1, sigma=0.2),
        slow(Target(period=3, sigma=0.2)),
        slow(Target(window=3, period=3, sigma=0.1)),
        Target(window=3, period=3, sigma=0.3),
        Target(window=3, sigma=0.2),
        Target(window=6, period=2, sigma=0.2),
        slow(Target(window=5, period=5, sigma=0.2)),
    ],
    ids=repr,
)
def test_smoothed_gradient_of_an_early_end(target, float64):
    """By antithetic differences times scores, which see that the end moves."""
    problem = problems.EarlyEnd(filling=5)
    params = initial_params(problem)
    shape = (100_000, count_blocks(problem, target), 2)
    z = jnp.asarray(np.random.default_rng(2).standard_normal(shape))
    window, period = target.window or problem.horizon, target.period or problem.horizon
    key = jax.random.key(KEY_SEED)

    def losses(z):
        noise = to_noise(z, problem, params, target)
        windows = window_losses(problem, params, noise, target, problem.horizon, key)
        return jnp.stack([loss(jnp.zeros(2)) for loss in windows])

    def sample(z):
        slopes = (losses(z) - losses(-z)) / (2 * target.sigma * problem.horizon)
        total = jnp.zeros(2)
        for slope, start in zip(slopes, range(0, problem.horizon, window), strict=True):
            last = min(start + window, problem.horizon) - 1
            score = z[start // period : last // period + 1].sum(axis=0)
            total = total + slope * score
        return total

    samples = np.asarray(jax.jit(jax.vmap(sample))(z))
    assert_mean(samples, problem.exact_gradient(params, target))


def test_arms_of_an_early_end_end_at_different_times(float64):
    problem = problems.EarlyEnd()

    def length(params):
        state = problem.init_state(params, key=None)
        for t in range(problem.horizon):
            if is_done(problem, state):
                return t
            state, _ = problem.step(params, state, t, key=None)
        return problem.horizon

    params = initial_params(problem)
    # Filled to 1.7 and drained by 0.3 per step after 4 steps of filling.
    assert length(params) == 4 + 6
    assert length(params - 0.1) == 4 + 5
    assert length(params - 0.3) == 4 + 2
    assert length(params - 0.6) == 4
    assert length(params + 0.3) == problem.horizon


def test_noise_of_the_data_leaves_the_mean(float64):
    problem = problems.LinearQuadratic(noise=0.5)
    params = jnp.array([0.1, -0.2, 0.3, 0.0])
    keys = jax.random.split(jax.random.key(5), 4_000)
    zero = [jnp.zeros(4)]
    sample = lambda key: pathwise_gradient(problem, params, zero, Target(), key)
    samples = np.asarray(jax.jit(jax.vmap(sample))(keys))
    assert_mean(samples, problem.exact_gradient(params, Target()))


def test_truncation_turns_signs_of_the_linear_quadratic():
    for seed in range(20):
        problem = problems.LinearQuadratic(seed=seed)
        params = jnp.zeros(4)
        full = problem.exact_gradient(params, Target())
        truncated = problem.exact_gradient(params, Target(window=3))
        assert np.any(full * truncated < 0), seed
        assert np.linalg.norm(full - truncated) > 0.5 * np.linalg.norm(full), seed


def test_noise_schedules_have_different_targets():
    for problem in (problems.Cubic(), problems.CosineAccumulator(), problems.LearnedStart()):
        params = initial_params(problem)
        shared = problem.exact_gradient(params, Target(sigma=0.5))
        fresh = problem.exact_gradient(params, Target(period=1, sigma=0.5))
        pairs = zip(jax.tree.leaves(shared), jax.tree.leaves(fresh), strict=True)
        for first, second in pairs:
            assert np.linalg.norm(first - second) > 0.02 * np.linalg.norm(second), problem


def test_an_engine_weighs_by_the_length_that_was_drawn(float64):
    problem = problems.RandomLength(12, (4,), average_per_episode=True)
    params, estimator = initial_params(problem), unspool.BPTT(1)
    state = estimator.init(problem, params, key=jax.random.key(0))
    found, _ = estimator.estimate(problem, params, state)
    np.testing.assert_allclose(found.grad, problem.exact_gradient(params, Target()), rtol=1e-12)


def test_averages_over_random_lengths_differ():
    of_step = problems.RandomLength(lengths=(2, 10))
    of_episode = problems.RandomLength(lengths=(2, 10), average_per_episode=True)
    assert of_step.mean_length == 6
    assert weight(of_step, jnp.array(2)) == 1
    assert weight(of_episode, jnp.array(2)) == 3 and np.isclose(
        weight(of_episode, jnp.array(10)), 0.6
    )
    params = jnp.array([0.1, 0.1])
    first, second = (p.exact_gradient(params, Target()) for p in (of_step, of_episode))
    assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(first)
    keys = jax.random.split(jax.random.key(0), 2_000)
    lengths = np.asarray(jax.vmap(lambda key: of_step.episodes.draw_length(key=key))(keys))
    assert set(lengths) == {2, 10}
    assert abs(np.mean(lengths == 2) - 0.5) < 4 * 0.5 / np.sqrt(2_000)
