"""Every exported estimator against closed-form gradients: is its mean what it promises?"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from unspool import problems
from unspool._reference import sample_gradients
from unspool.problems._closed_form import flatten, ramp, reach, unflatten

pytestmark = pytest.mark.usefixtures("float64")

SIGMA = 0.1
# Windows of 3 steps in episodes of 12: with three workers there is an update in four in which
# nobody begins an episode. Windows of 5 steps are as many as their workers: somebody always does.
ESTIMATORS = {
    "FullES": unspool.FullES(4, SIGMA),
    "TruncatedES": unspool.TruncatedES(4, 3, SIGMA),
    "PES": unspool.PES(3, 3, SIGMA),
    "GPES, period above window": unspool.GPES(3, 3, 6, SIGMA),
    "GPES, period below window": unspool.GPES(4, 6, 2, SIGMA),
    "NRES": unspool.NRES(3, 3, SIGMA),
    "ESSingle": unspool.ESSingle(4, 3, SIGMA),
    "ControlledGPES": unspool.ControlledGPES(3, 3, 3, SIGMA),
    "DODGE": unspool.DODGE(3, 3),
    "DODGE with a period": unspool.DODGE(4, 6, 3),
    "ForwardGradient": unspool.ForwardGradient(3, 3),
    "BPTT": unspool.BPTT(2),
    "TBPTT": unspool.TBPTT(3, 3),
    "RTRL": unspool.RTRL(3, 3),
    "UORO": unspool.UORO(3, 3),
    "Chunked": unspool.Chunked(unspool.NRES(3, 3, SIGMA), 2),
}
ODD_WINDOWS = {
    "TruncatedES": unspool.TruncatedES(3, 5, SIGMA),
    "PES": unspool.PES(3, 5, SIGMA),
    "GPES": unspool.GPES(3, 5, 10, SIGMA),
    "NRES": unspool.NRES(3, 5, SIGMA),
    "ESSingle": unspool.ESSingle(3, 5, SIGMA),
    "ControlledGPES": unspool.ControlledGPES(3, 5, 5, SIGMA),
    "PESAnalytic": unspool.PESAnalytic(3, 5, 1e-3),
    "DODGE": unspool.DODGE(3, 5),
    "ForwardGradient": unspool.ForwardGradient(3, 5),
    "TBPTT": unspool.TBPTT(3, 5),
    "RTRL": unspool.RTRL(3, 5),
    "UORO": unspool.UORO(3, 5),
}
PROBLEMS = {
    "quadratic": problems.LinearQuadratic(),
    "cubic": problems.Cubic(horizon=12),
    "cosine": problems.CosineAccumulator(horizon=12, frequency=0.4),
    "ends early": problems.EarlyEnd(),
    "random length": problems.RandomLength(),
    "learned start": problems.LearnedStart(horizon=12),
    "final loss": problems.FinalLoss(horizon=12),
}


# Some two hundred tests: a false alarm in one of them shall be as rare as one in a thousand.
LEVEL = 1e-3 / 200


def accept(result):
    """The mean is right, and known well enough to say so: a test that passes at five standard
    errors would not see a bias smaller than that."""
    assert result.passed, result
    assert np.max(result.standard_error) < 0.1 * np.max(np.abs(result.reference)), result


def check(problem, estimator, *, target=None):
    key = jax.random.key(0)
    params = problem.init_params(key=key)
    target = estimator.target(problem.horizon) if target is None else target
    reference = problem.exact_gradient(params, target)
    return unspool.check_unbiased(
        problem,
        estimator,
        key=key,
        params=params,
        reference=reference,
        # Lengths that differ add to the noise.
        num_chains=600 if problem is not PROBLEMS["random length"] else 1200,
        level=LEVEL,
    )


def test_every_exported_estimator_is_tested():
    exported = {
        name
        for name, value in vars(unspool).items()
        if inspect.isclass(value)
        and issubclass(value, unspool.AbstractEstimator)
        and not inspect.isabstract(value)
    }
    tested = {type(estimator).__name__ for estimator in ESTIMATORS.values()}
    assert exported == tested | {"PESAnalytic"}


# `Chunked` is its estimator up to rounding, as `test_contract.py` checks, and `ESSingle` is `NRES`
# but for where workers start: one problem of each kind will do.
SAME = {"Chunked", "ESSingle"}
ONE_OF_EACH_KIND = {"quadratic", "ends early", "random length"}


# A cubic has all that a quadratic and a cosine have but the higher orders of the smoothing.
EASY = {"quadratic", "cosine"}
slow_if = lambda condition: [pytest.mark.slow] if condition else []


@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        pytest.param(e, p, marks=slow_if(p in EASY and e not in SAME | {"NRES", "PES"}))
        for e in ESTIMATORS
        for p in PROBLEMS
        if e not in SAME or p in ONE_OF_EACH_KIND
    ],
)
def test_the_mean_is_the_gradient_promised(estimator, problem):
    result = check(PROBLEMS[problem], ESTIMATORS[estimator])
    assert result.dropped == 0
    accept(result)


@pytest.mark.parametrize(
    "problem", [pytest.param("learned start", marks=pytest.mark.slow), "random length"]
)
@pytest.mark.parametrize("estimator", ODD_WINDOWS)
def test_a_window_need_not_divide_the_episode(estimator, problem):
    result = check(PROBLEMS[problem], ODD_WINDOWS[estimator])
    accept(result)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_truncated_gradient_is_rejected_as_the_full_one(problem):
    full = ESTIMATORS["NRES"].target(12)
    assert not check(PROBLEMS[problem], ESTIMATORS["TruncatedES"], target=full).passed


@pytest.mark.parametrize("problem", ["cubic", "cosine"])
def test_smoothing_per_window_is_told_from_smoothing_per_episode(problem):
    per_episode = unspool.NRES(4, 3, 0.3).target(12)
    assert not check(PROBLEMS[problem], unspool.PES(4, 3, 0.3), target=per_episode).passed


@pytest.mark.parametrize(("window", "period"), [(3, None), (6, 2)])
def test_a_control_goes_with_any_period(window, period):
    estimator = unspool.ControlledGPES(4, window, period, SIGMA)
    result = check(PROBLEMS["learned start"], estimator)
    accept(result)


@pytest.mark.parametrize("problem", ["quadratic", "learned start"])
def test_pes_with_an_analytic_window_is_exact_up_to_its_own_smoothing(problem):
    """Exact on a quadratic for any sigma, and on any problem as sigma goes to zero."""
    sigma = 0.3 if problem == "quadratic" else 1e-3
    result = check(PROBLEMS[problem], unspool.PESAnalytic(4, 3, sigma), target=unspool.Target())
    accept(result)


def test_the_bias_of_pes_with_an_analytic_window_is_the_known_one():
    """On a cubic: what the newest window's copies say, they say of the unperturbed state."""
    problem, sigma = PROBLEMS["cubic"], 0.5
    params = problem.init_params(key=jax.random.key(0))
    estimator = unspool.PESAnalytic(4, 3, sigma)
    features, sigmas = ramp(problem.horizon), np.full(2, sigma)
    gain, variance = reach(features, unspool.Target(None, 3, sigma), sigmas)
    newest, _ = reach(features, unspool.Target(3, 3, sigma), sigmas)
    slope = (features @ flatten(params)).cumsum() ** 2 - 1
    exact = (slope @ gain + variance @ (gain - newest)) / problem.horizon
    key = jax.random.key(0)
    settings = {"key": key, "params": params, "num_chains": 2000, "level": LEVEL}
    result = unspool.check_unbiased(
        problem, estimator, reference=unflatten(exact, params), **settings
    )
    accept(result)
    of_pes = problem.exact_gradient(params, estimator.target(problem.horizon))
    result = unspool.check_unbiased(problem, estimator, reference=of_pes, **settings)
    assert not result.passed, result


class Sum(unspool.AbstractProblem):
    """A loss linear in the parameters, so that variances have closed forms."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.zeros(3)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + params @ jnp.cos(jnp.arange(3) + 2.0 * t)
        return state, state


def test_controls_take_away_the_noise_of_what_they_explain():
    r"""With $G_u$ the influence of window $u$ on the loss of window $w$, one pair's variance is
    $P m \sum |G_u|^2 + |\sum G_u|^2$ over $u < w$, with m = w - 1 noises credited by
    PES+Analytic and m = w by the unbiased form; with one noise for all it is (P + 1) |sum|^2."""
    windows, num_keys = 3, 40_000
    features = np.cos(np.arange(3) + 2.0 * np.arange(6)[:, None])
    influence = np.zeros((windows, windows, 3))
    for t in range(6):
        for j in range(t + 1):
            influence[t // 2, j // 2] += features[j]
    variances = {"PESAnalytic": 0.0, "ControlledGPES": 0.0, "NRES": 0.0}
    for w in range(windows):
        earlier = influence[w, :w]
        squares, aligned = np.sum(earlier**2), np.sum(earlier.sum(0) ** 2)
        variances["PESAnalytic"] += 3 * w * squares + aligned
        variances["ControlledGPES"] += 3 * (w + 1) * squares + aligned
        variances["NRES"] += 4 * aligned
    estimators = {
        "PESAnalytic": unspool.PESAnalytic(1, 2, 0.1),
        "ControlledGPES": unspool.ControlledGPES(1, 2, 2, 0.1),
        "NRES": unspool.ControlledGPES(1, 2, None, 0.1),
    }
    problem, params = Sum(), jnp.zeros(3)
    means = influence.sum(axis=1)
    between = np.sum((means - means.mean(0)) ** 2) / windows

    for name, estimator in estimators.items():

        def one(key, estimator=estimator):
            workers = estimator.init(problem, params, key=key)
            return estimator.estimate(problem, params, workers)[0].grad

        grads = 2 * np.asarray(
            jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), num_keys))
        )
        squares = np.sum((grads - means.mean(0)) ** 2, axis=1)
        error = np.std(squares) / np.sqrt(num_keys)
        expected = variances[name] / windows + between
        assert abs(np.mean(squares) - expected) < 4 * error, name
        assert abs(np.mean(squares) - 0.8 * expected) > 4 * error, name


SCHEDULED = {
    "FullES": unspool.FullES(4, lambda update: 0.5 * 0.7**update),
    "PES": unspool.PES(4, 3, lambda update: 0.5 * 0.7**update),
    "GPES": unspool.GPES(4, 3, 6, lambda update: 0.5 * 0.7**update),
    "NRES": unspool.NRES(4, 3, lambda update: 0.5 * 0.7**update),
    "ESSingle": unspool.ESSingle(4, 3, lambda update: 0.5 * 0.7**update),
}


@pytest.mark.parametrize("estimator", SCHEDULED)
def test_a_schedule_of_sigma_biases_nothing(estimator):
    result = check(PROBLEMS["quadratic"], SCHEDULED[estimator], target=unspool.Target())
    accept(result)


@pytest.mark.parametrize("make", [unspool.PES, unspool.NRES, unspool.TruncatedES])
def test_sigma_may_differ_from_leaf_to_leaf(make):
    problem = PROBLEMS["cubic"]
    leaves, structure = jax.tree.flatten(problem.init_params(key=jax.random.key(0)))
    sigmas = [0.1 * (i + 1) for i in range(len(leaves))]
    estimator = make(4, 3, sigma=jax.tree.unflatten(structure, sigmas))
    result = check(problem, estimator)
    accept(result)
    uniform = unspool.Target(estimator.tableau.rejoin, estimator.tableau.period, 0.5)
    assert not check(problem, estimator, target=uniform).passed


def test_keys_and_noise_of_the_data_are_shared_by_the_arms():
    """The pairing test: without perturbation the losses of a pair are the same bits."""
    problem = problems.LinearQuadratic(noise=1.0)
    params = problem.init_params(key=jax.random.key(0))
    for make in (unspool.PES, unspool.TruncatedES):
        estimator = make(8, 3, sigma=1e-200)
        state = estimator.init(problem, params, key=jax.random.key(1))
        for _ in range(5):
            estimate, state = estimator.estimate(problem, params, state)
            assert estimate.stats["slope_std"] == 0.0
            assert jnp.isfinite(estimate.loss)


@pytest.mark.parametrize("name", ["NRES", "PES", "TruncatedES", "TBPTT", "UORO"])
def test_noise_in_the_data_changes_no_mean(name):
    result = check(problems.LinearQuadratic(noise=0.5), ESTIMATORS[name])
    accept(result)


SIMULATED = {
    "cubic": unspool.NRES(4, 3, SIGMA),
    "learned start": unspool.TruncatedES(4, 3, SIGMA),
    "ends early": unspool.TruncatedES(4, 3, SIGMA),
    "random length": unspool.NRES(4, 3, SIGMA),
}


def simulate(problem, target, num_samples):
    """The mean of simulated gradients, and its standard error."""
    params = problem.init_params(key=jax.random.key(0))
    key = jax.random.key(1)
    samples = sample_gradients(problem, params, target, key=key, num_samples=num_samples)
    flat = np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(samples))
    return flat.mean(axis=0), flat.std(axis=0, ddof=1) / np.sqrt(num_samples)


@pytest.mark.parametrize("name", SIMULATED)
def test_the_gradient_simulated_from_its_definition_is_the_closed_form(name):
    """For the whole gradient and a truncated one; each is told from the other."""
    problem = PROBLEMS[name]
    params = problem.init_params(key=jax.random.key(0))
    right = SIMULATED[name].target(12)
    wrong = unspool.Target(3 if right.window is None else None, None, SIGMA)
    exact, other = (flatten(problem.exact_gradient(params, target)) for target in (right, wrong))
    mean, error = simulate(problem, right, 20_000)
    assert np.all(error < 0.05 * np.max(np.abs(exact)))
    assert np.max(np.abs(mean - exact) / error) < 4.5
    assert np.max(np.abs(mean - other) / error) > 6
