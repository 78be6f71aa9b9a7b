"""What holds for every problem, and the steps of those from the literature by hand."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool.problems as problems
from support.episodes import is_done
from support.problems import initial_params, mean_loss
from support.slow import slow
from unspool._problem import AbstractProblem
from unspool.problems._check import check_integer

CLASSES = [
    value
    for value in vars(problems).values()
    if inspect.isclass(value) and issubclass(value, AbstractProblem)
]

# --- Every problem. ---


@pytest.mark.parametrize("precision", [slow(False), True], ids=["float32", "float64"])
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
        done = jax.vmap(lambda state: jnp.asarray(is_done(problem, state)))(state)
        assert done.shape == (3,) and done.dtype == bool
        # The whole problem may also pass through a transformation as an argument.
        _, traced = eqx.filter_jit(episode)(problem, params, keys[0])
        np.testing.assert_allclose(traced, losses[0], rtol=1e-4)


def test_exports_are_alphabetical_and_documented():
    names = [name for name in vars(problems) if name in {cls.__name__ for cls in CLASSES}]
    assert names == sorted(names) and len(names) == 18
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
        (lambda: problems.EarlyEnd(filling=0), "filling .* at least 1, got 0; .* is 1"),
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


def test_counts_are_positive():
    """Of every problem that has a whole number for a default."""
    checked = 0
    for make in CLASSES:
        for name, parameter in inspect.signature(make).parameters.items():
            if type(parameter.default) is int:
                with pytest.raises(ValueError, match=f"{name} must be .* got -1"):
                    make(**{name: -1})
                checked += 1
    assert checked > 10


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
