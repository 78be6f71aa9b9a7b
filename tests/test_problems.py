"""The closed-form gradients against a simulation written here, and the published numbers."""

import functools as ft
import inspect
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool.problems as problems
from unspool._problem import AbstractProblem
from unspool._target import Target
from unspool.problems._check import check_integer

CLASSES = [
    value
    for value in vars(problems).values()
    if inspect.isclass(value) and issubclass(value, AbstractProblem)
]
KEY_SEED = 0


def initial_params(problem):
    return problem.init_params(key=jax.random.key(KEY_SEED))


# --- The simulation: every step by itself, with a copy of the parameters of its own. ---


def window_losses(problem, params, noise, target, length, key):
    """For each window the function of a common shift whose gradient the target asks for.

    `noise[b]`, a tree like `params`, perturbs the copies of block `b`.
    """
    window, period = target.window or problem.horizon, target.period or problem.horizon

    def advance(state, over, copy, t):
        stepped, loss = problem.step(copy, state, t, key=jax.random.fold_in(key, t))
        state = jax.tree.map(lambda old, new: jnp.where(over, old, new), state, stepped)
        loss = jnp.where(over, 0, loss * problem.weight(jnp.array(length)))
        return state, over | problem.is_over(state), loss

    def loss_of_window(start, state, over, shift):
        perturbed = lambda t: jax.tree.map(lambda *xs: sum(xs), params, shift, noise[t // period])
        if start == 0:
            state = problem.init_state(perturbed(0), key=key)
            over = problem.is_over(state)
        total = 0.0
        for t in range(start, min(start + window, length)):
            state, over, loss = advance(state, over, perturbed(t), t)
            total = total + loss
        return total

    state = problem.init_state(params, key=key)
    over = problem.is_over(state)
    for start in range(0, length, window):
        yield ft.partial(loss_of_window, start, state, over)
        for t in range(start, min(start + window, length)):
            state, over, _ = advance(state, over, params, t)


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


@pytest.mark.parametrize("window", [None, 1, 3, 5, 100])
@pytest.mark.parametrize("problem", CLOSED, ids=repr)
def test_gradient_without_smoothing(problem, window, float64):
    params = jax.tree.map(lambda x: x + 0.031, initial_params(problem))
    target = Target(window=window)
    zero = [jax.tree.map(jnp.zeros_like, params)]
    expected = jax.jit(lambda: pathwise_gradient(problem, params, zero, target))()
    assert_close(problem.exact_gradient(params, target), expected)


TARGETS = [(None, None), (None, 2), (None, 3), (2, None), (3, 3), (2, 4), (4, 2), (3, 1)]


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


@pytest.mark.parametrize(("window", "period"), [(None, None), (None, 3), (3, 3), (4, 2), (2, 4)])
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
        Target(sigma=0.4),
        Target(period=1, sigma=0.2),
        Target(period=3, sigma=0.2),
        Target(window=3, period=3, sigma=0.1),
        Target(window=3, period=3, sigma=0.3),
        Target(window=3, sigma=0.2),
        Target(window=6, period=2, sigma=0.2),
        Target(window=5, period=5, sigma=0.2),
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
            if problem.is_over(state):
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


def test_averages_over_random_lengths_differ():
    of_step = problems.RandomLength(lengths=(2, 10))
    of_episode = problems.RandomLength(lengths=(2, 10), average_per_episode=True)
    assert of_step.mean_length == 6
    assert of_step.weight(jnp.array(2)) == 1
    assert of_episode.weight(jnp.array(2)) == 3 and np.isclose(
        of_episode.weight(jnp.array(10)), 0.6
    )
    params = jnp.array([0.1, 0.1])
    first, second = (p.exact_gradient(params, Target()) for p in (of_step, of_episode))
    assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(first)
    keys = jax.random.split(jax.random.key(0), 2_000)
    lengths = np.asarray(jax.vmap(lambda key: of_step.draw_length(key=key))(keys))
    assert set(lengths) == {2, 10}
    assert abs(np.mean(lengths == 2) - 0.5) < 4 * 0.5 / np.sqrt(2_000)


# --- Every problem. ---


@pytest.mark.parametrize("precision", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_problem_keeps_its_state(cls, precision):
    """Default fields, finite losses, and a state that a loop over rows can carry."""
    with jax.enable_x64(precision):
        problem = cls()
        params = initial_params(problem)
        keys = jax.random.split(jax.random.key(1), 3)
        num_steps = min(problem.horizon, 50)

        def episode(problem, params, key):
            def body(state, t):
                return problem.step(params, state, t, key=jax.random.fold_in(key, t))

            state = problem.init_state(params, key=key)
            return jax.lax.scan(body, state, jnp.arange(num_steps))

        many = eqx.filter_jit(jax.vmap(lambda p, key: episode(problem, p, key), in_axes=(None, 0)))
        state, losses = many(params, keys)
        assert losses.shape == (3, num_steps) and losses.dtype == jnp.result_type(float)
        assert np.all(np.isfinite(losses))
        over = jax.vmap(problem.is_over)(state)
        assert over.shape == (3,) and over.dtype == bool
        # The whole problem may also pass through a transformation as an argument.
        _, traced = eqx.filter_jit(episode)(problem, params, keys[0])
        np.testing.assert_allclose(traced, losses[0], rtol=1e-4)


def test_exports_are_alphabetical_and_documented():
    names = [name for name in vars(problems) if name in {cls.__name__ for cls in CLASSES}]
    assert names == sorted(names) and len(names) == 13
    for cls in CLASSES:
        assert "$$" in cls.__doc__ and "**Arguments:**" in cls.__doc__ and "Source:" in cls.__doc__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.Cubic(horizon=0), "horizon must be .* at least 1, got 0; .* is 1"),
        (lambda: problems.LinearQuadratic(size=1), "size .* at least 2, got 1; .* is 2"),
        (lambda: problems.LinearQuadratic(noise=-1.0), "noise .* got -1.0; .* is 0.0"),
        (lambda: problems.CosineAccumulator(frequency=0.0), "frequency .* above 0, got 0.0"),
        (lambda: problems.InfluenceBalancing(num_positive=24), "num_positive .* got 24; .* is 23"),
        (lambda: problems.EarlyEnd(horizon=4), "horizon .* at least 5, got 4; .* is 5"),
        (lambda: problems.EarlyEnd(drain=-0.1), "drain .* above 0, got -0.1"),
        (lambda: problems.RandomLength(lengths=()), "lengths must name at least one"),
        (lambda: problems.RandomLength(lengths=(0, 3)), r"lengths\[0\] .* got 0; .* is 1"),
        (lambda: problems.RandomLength(lengths=(3, 13)), r"lengths\[1\] .* got 13; .* is 12"),
        (lambda: problems.LearnedStart(decay=1.0), "decay must be below 1, got 1.0"),
        (lambda: problems.Lorenz(dt=0.0), "dt .* above 0, got 0.0"),
        (lambda: problems.LorenzFromRandomStarts(start_noise=-1.0), "start_noise .* is 0.0"),
        (lambda: problems.ToyRegression(weight_decay=-1.0), "weight_decay .* is 0.0"),
        (lambda: problems.SeriesFit(np.array([0.0, 1.0]), np.ones(2)), r"observations .*\(2, d\)"),
        (lambda: problems.SeriesFit(np.zeros(1), np.ones((1, 1))), "times .* at least 2 entries"),
        (lambda: problems.SeriesFit(np.zeros(2), np.ones((2, 1))), "times must increase, got 0"),
        (
            lambda: problems.SeriesFit(np.arange(2.0), -2 * np.ones((2, 1))),
            "positive .* -2 at time 0",
        ),
        (lambda: problems.SeriesFit(init_rates=(1.0, 0.0)), r"init_rates\[1\] .* got 0.0"),
        (lambda: problems.SeriesFit(steps_per_interval=0), "steps_per_interval .* got 0; .* is 1"),
    ],
)
def test_illegal_fields_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fractional_integers_are_named():
    """Directly, for the type checks of the tests stop a field of a wrong type."""
    with pytest.raises(ValueError, match="horizon must be an integer.* got 2.6; .* is 3"):
        check_integer("horizon", 2.6)
    with pytest.raises(ValueError, match="horizon must be an integer.* got 'x'; .* is 1"):
        check_integer("horizon", "x")


# --- Problems from the literature. ---


def test_influence_balancing_has_the_published_influence(float64):
    problem = problems.InfluenceBalancing(horizon=500)

    def trajectory(theta):
        body = lambda state, t: problem.step(theta, state, t, key=None)
        states_and_losses = lambda state, t: (body(state, t)[0], (state[0], body(state, t)[1]))
        start = problem.init_state(theta, key=None)
        state, (heights, losses) = jax.lax.scan(states_and_losses, start, jnp.arange(500))
        return jnp.append(heights, state[0]), losses

    influence, _ = jax.jacfwd(trajectory)(jnp.array(0.5))
    published = {1: 1, 10: 10, 19: 16.476, 20: 16.476, 30: 9.870, 40: 0.5655, 41: -0.2190}
    published |= {50: -4.753, 60: -5.897, 500: -6}
    for window, value in published.items():
        assert abs(influence[window] - value) < 5e-4 * max(1, abs(value)), window
    assert np.argmax(influence) in (19, 20)
    assert np.all(influence[1:41] > 0) and np.all(influence[41:] < 0)
    # Summed over the window, with a constant error.
    sums = np.cumsum(np.asarray(influence))
    assert np.all(sums[1:110] > 0) and np.all(sums[110:] < 0)
    assert abs(trajectory(jnp.array(0.5))[1][-1] - 8) < 1e-9
    assert trajectory(jnp.array(-1 / 6))[1][-1] < 1e-20
    assert initial_params(problem) == 0.5


def test_toy_regression_by_hand(float64):
    problem = problems.ToyRegression()
    state = problem.init_state(None, key=None)
    assert abs(problem.inner_loss(state) - 24.968) < 5e-4
    params = jnp.array([-2.0, -1.0])
    nudge, slopes = 1e-6, []
    for i in range(2):
        e = np.eye(2)[i] * nudge
        slopes.append((problem.inner_loss(state + e) - problem.inner_loss(state - e)) / (2 * nudge))
    rate = 0.75 * np.exp(-2.0) + 0.25 * np.exp(-1.0)
    expected = np.ones(2) - rate * np.array(slopes)
    after, loss = problem.step(params, state, jnp.array(25), key=None)
    np.testing.assert_allclose(after, expected, rtol=1e-8)
    assert loss == problem.inner_loss(after)
    decaying = problems.ToyRegression(weight_decay=0.5)
    np.testing.assert_allclose(
        decaying.step(params, state, jnp.array(25), key=None)[0], expected - rate * 0.5, rtol=1e-8
    )
    np.testing.assert_array_equal(initial_params(problem), [-4.0, -4.0])


def test_lorenz_step_by_hand(float64):
    problem = problems.Lorenz()
    params = initial_params(problem)
    a, r = np.exp(3.116), np.exp(3.7)
    state, loss = problem.step(params, problem.init_state(params, key=None), jnp.array(0), key=None)
    x, y, z = 1.2, 1.3, 1.6
    after = [
        x + 0.005 * a * (y - x),
        y + 0.005 * ((r - z) * x - y),
        z + 0.005 * (x * y - 8 / 3 * z),
    ]
    np.testing.assert_allclose(state, after, rtol=1e-12)
    # The first height depends on the start alone.
    assert loss < 1e-24
    state, loss = problem.step(params, state, jnp.array(1), key=None)
    x, y, z = 1.2 + 0.005 * 10 * 0.1, 1.3 + 0.005 * (26.4 * 1.2 - 1.3), after[2]
    truth = z + 0.005 * (x * y - 8 / 3 * z)
    x, y, z = after
    np.testing.assert_allclose(loss, (z + 0.005 * (x * y - 8 / 3 * z) - truth) ** 2, rtol=1e-9)
    assert problem.reference.shape == (2000,) and problem.horizon == 2000


def mean_loss(problem, params, key):
    def body(state, t):
        return problem.step(params, state, t, key=key)

    state = problem.init_state(params, key=key)
    return jax.lax.scan(body, state, jnp.arange(problem.horizon))[1].mean()


def test_lorenz_losses(float64):
    truth = jnp.log(jnp.array([10.0, 28.0]))
    key = jax.random.key(0)
    fixed, random = problems.Lorenz(), problems.LorenzFromRandomStarts()
    same = problems.LorenzFromRandomStarts(start_noise=0.0)
    assert mean_loss(fixed, truth, key) < 1e-12 and mean_loss(random, truth, key) < 1e-12
    short = lambda cls, **fields: mean_loss(cls(horizon=300, **fields), initial_params(fixed), key)
    np.testing.assert_allclose(
        short(problems.LorenzFromRandomStarts, start_noise=0.0), short(problems.Lorenz), rtol=1e-9
    )
    states = [p.init_state(truth, key=key) for p in (random, same)]
    assert np.array_equal(states[1]["model"], fixed.init_state(truth, key=key))
    for state in states:
        assert np.array_equal(state["model"], state["truth"])
    assert not np.array_equal(states[0]["model"], states[1]["model"])


# --- Fits of series. ---


def growth(rates, state):
    return rates * state


def test_series_fit_has_a_closed_form_for_growth(float64):
    times, rate, start = np.array([2.0, 2.5, 4.0, 4.25]), 0.3, np.array([1.5, 0.5])
    series = np.exp(np.random.default_rng(0).normal(size=(4, 2)))
    problem = problems.SeriesFit(times, series, growth, (rate, 2 * rate), steps_per_interval=3)
    assert problem.horizon == 9
    params = initial_params(problem)
    np.testing.assert_allclose(params["log_start"], np.log(series[0]))
    params["log_start"] = jnp.log(start)
    logs = np.log(start) + np.outer(times - 2.0, [rate, 2 * rate])
    expected = np.mean((logs - np.log(series)) ** 2)
    np.testing.assert_allclose(mean_loss(problem, params, None), expected, rtol=1e-12)
    state, losses = params["log_start"], []
    for t in range(problem.horizon):
        state, loss = problem.step(params, state, jnp.array(t), key=None)
        losses.append(float(loss))
    assert np.flatnonzero(losses).tolist() == [0, 2, 5, 8]


def test_default_series_fit_starts_badly_and_finite(float64):
    problem = problems.SeriesFit()
    assert problem.horizon == 400
    bad = initial_params(problem)
    published = {"log_rates": jnp.log(jnp.array([0.55, 0.028, 0.80, 0.024]))}
    published["log_start"] = jnp.log(jnp.array([6.0, 34.0]))
    assert 1.5 < mean_loss(problem, bad, None) < 2.5
    assert mean_loss(problem, published, None) < 0.06


def test_lotka_volterra_keeps_its_invariant(float64):
    growth_rate, predation, death, conversion = rates = np.array([1.0, 0.05, 0.9, 0.04])
    derivative = problems.lotka_volterra(jnp.array(rates), jnp.array([3.0, 7.0]))
    by_hand = [3 * (conversion * 7 - death), 7 * (growth_rate - predation * 3)]
    np.testing.assert_allclose(derivative, by_hand, rtol=1e-12)
    problem = problems.SeriesFit(init_rates=tuple(rates))
    params = initial_params(problem)

    def invariant(state):
        p, q = np.exp(np.asarray(state))
        return conversion * q - death * np.log(q) + predation * p - growth_rate * np.log(p)

    state = start = problem.init_state(params, key=None)
    step = jax.jit(lambda state, t: problem.step(params, state, t, key=None)[0])
    for t in range(problem.horizon):
        state = step(state, jnp.array(t))
    assert abs(invariant(state) - invariant(start)) < 1e-4
    assert not np.allclose(state, start)


def test_lynx_hare_record():
    years, pelts = problems.lynx_hare()
    np.testing.assert_array_equal(years, np.arange(1900, 1921))
    assert pelts.shape == (21, 2)
    np.testing.assert_array_equal(pelts[[0, 4, 20]], [[4.0, 30.0], [59.4, 36.3], [8.6, 24.7]])


def test_series_fit_reads_a_file(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("time,a,b\n0,1.5,2\n\n0.5, 3,4\n2,5,6.25\n")
    problem = problems.SeriesFit.from_csv(path, growth, [1.0, 2.0], steps_per_interval=4)
    np.testing.assert_array_equal(problem.times, [0, 0.5, 2])
    np.testing.assert_array_equal(problem.observations, [[1.5, 2], [3, 4], [5, 6.25]])
    assert problem.horizon == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with a header"),
        ("time\n1\n2\n", "header of at least 2 columns"),
        ("0,1\n1,2\n2,3\n", "must begin with a header, got the numbers 0,1"),
        ("time,a\n0,1\n", "at least 2 rows below its header, got 1"),
        ("time,a\n0,1\n1,x\n", "line 3, column 'a' must be a finite number, got 'x'"),
        ("time,a\n0,1\n\n1,\n", "line 4, column 'a' must be a finite number, got ''"),
        ("time,a\n0,1\n1,nan\n", "line 3, column 'a' must be a finite number, got 'nan'"),
        ("time,a\n0,1\n1,2,3\n", "line 3 must have 2 cells as the header has, got 3"),
        ("time,a\n0,1\n1,0\n", "must be positive and finite.* got 0 at time 1"),
        ("time,a\n0,1\n1,-3\n", "must be positive and finite.* got -3 at time 1"),
        ("time,a\n0,1\n2,1\n1,1\n", "times must increase, got 2 and then 1"),
    ],
)
def test_malformed_files_are_explained(tmp_path, text, message):
    path = tmp_path / "series.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        problems.SeriesFit.from_csv(path, growth, [1.0])
    assert "\n" not in str(error.value)
