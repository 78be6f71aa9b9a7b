"""Random truncation: how noisy it is, and when a training is warned of that."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import problems

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


class Leak(unspool.AbstractProblem):
    """A state that keeps a part of itself, takes up the parameter, and is the loss."""

    keep: float = 0.9
    horizon: int = 200

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = self.keep * state + params
        return state, state


def moments(keep, truncation, horizon):
    r"""The mean of an estimate, and its standard deviation.

    On the way back $m_t = 1 + r_t a\, m_{t+1}$ with $r$ either zero or $1 / (1 - c)$, and the
    estimate is the sum of all $m$.
    """
    mean, total, square, product, total_square = np.zeros(5)
    for _ in range(horizon):
        square = 1 + 2 * keep * mean + keep**2 / (1 - truncation) * square
        product = total + keep * product  # of the next m and the sum so far
        total_square += 2 * product + square
        mean = 1 + keep * mean
        total += mean
        product += square
    return total / horizon, np.sqrt(total_square - total**2) / horizon


def sample(problem, truncation, count):
    estimator, params = unspool.ARTBP(1, truncation), problem.init_params(key=KEY)

    def one(key):
        state = estimator.init_workers(problem, params, key)
        return estimator.estimate(problem, params, state)[0].grad

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, count)))


def test_the_variance_is_that_of_the_recursion():
    mean, deviation = moments(0.9, 0.1, 30)
    found = sample(Leak(horizon=30), 0.1, 4000)
    assert mean == pytest.approx(np.mean(sample(Leak(horizon=30), 0.0, 1)))
    assert abs(found.mean() - mean) < 4 * deviation / np.sqrt(4000)
    squares = (found - mean) ** 2
    assert abs(squares.mean() - deviation**2) < 4 * squares.std() / np.sqrt(4000)
    other = moments(0.9, 0.15, 30)[1]
    assert abs(squares.mean() - other**2) > 6 * squares.std() / np.sqrt(4000)


def test_derivatives_must_shrink_faster_than_what_passes_is_weighted():
    """With a decay of 0.9 the limit is a truncation of 0.19, from which variances explode."""
    relative = lambda *args: moments(*args)[1] / moments(*args)[0]
    assert relative(0.9, 0.1, 200) == pytest.approx(0.2796, abs=0.0001)
    growth = lambda truncation: np.divide(*(moments(0.9, truncation, T)[1] for T in (2000, 1000)))
    assert growth(0.1) == pytest.approx(2**-0.5, rel=0.01) and growth(0.25) > 1e10


def check(problem, truncation):
    params = problem.init_params(key=KEY)
    unspool.ARTBP(1, truncation).check_start(problem, params, KEY)


@pytest.mark.parametrize(
    ("problem", "truncation", "most"),
    [
        (Leak(), 0.25, "0.2084"),
        (problems.Cubic(horizon=100), 0.1, "0.045"),
        slow(problems.Lorenz(), 0.1, "0.0022"),
    ],
)
def test_variances_that_explode_are_warned_of(problem, truncation, most):
    message = rf"with truncation={truncation} .* grows as .*\^k.* at most {most}, or BPTT"
    with pytest.warns(UserWarning, match=message):
        check(problem, truncation)
    check(problem, float(most) - 0.001)


@pytest.mark.parametrize("problem", [problems.EarlyEnd(), problems.RandomLength(), Leak()])
def test_variances_that_do_not_are_not(problem):
    check(problem, 0.1)


def test_a_state_that_forgets_everything_has_no_variance_to_warn_of():
    check(Leak(keep=0.0), 0.9)


def test_training_warns_once_and_before_its_first_update():
    run = lambda truncation: list(
        unspool.train(Leak(), unspool.ARTBP(2, truncation), optax.sgd(0.01), num_updates=2, key=KEY)
    )
    with pytest.warns(UserWarning, match="have a truncation of at most 0.2084"):
        run(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(0.1)


def test_no_truncation_is_backpropagation():
    problem = problems.LinearQuadratic(noise=0.3)
    params, grads = problem.init_params(key=KEY), []
    for estimator in (unspool.BPTT(3), unspool.ARTBP(3, 0.0), unspool.ARTBP(3, 0.5)):
        state = estimator.init(problem, params, key=KEY)
        grads.append(estimator.estimate(problem, params, state)[0].grad)
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-12)
    assert np.max(np.abs(grads[2] - grads[0])) > 0.01 * np.max(np.abs(grads[0]))


@pytest.mark.parametrize(("truncation", "nearest"), [(-0.1, "0.0"), (1.0, "0.99")])
def test_a_truncation_is_a_probability_below_one(truncation, nearest):
    with pytest.raises(ValueError, match=f"truncation .* got {truncation}; .* is {nearest}"):
        unspool.ARTBP(1, truncation)
