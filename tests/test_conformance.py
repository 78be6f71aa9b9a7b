"""Every exported estimator against closed-form gradients: is its mean what it promises?"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from support.exact import HORIZON, polynomial
from support.slow import slow
from unspool import problems
from unspool._reference import sample_gradients
from unspool.problems._closed_form import flatten

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
    "ReweightedNRES": unspool.ReweightedNRES(3, 3, SIGMA),
    "ESSingle": unspool.ESSingle(4, 3, SIGMA),
    "ControlledGPES": unspool.ControlledGPES(3, 3, 3, SIGMA),
    "ControlledNRES": unspool.ControlledNRES(3, 3, SIGMA),
    "DODGE": unspool.DODGE(3, 3),
    "DODGE with a period": unspool.DODGE(4, 6, 3),
    "ForwardGradient": unspool.ForwardGradient(3, 3),
    "BPTT": unspool.BPTT(2),
    "ARTBP": unspool.ARTBP(2, 0.1),
    "TBPTT": unspool.TBPTT(3, 3),
    "RTRL": unspool.RTRL(3, 3),
    "UORO": unspool.UORO(3, 3),
    "LowRankUORO": unspool.LowRankUORO(3, 3),
    "KFRTRL": unspool.KFRTRL(3, 3),
    "OK": unspool.OK(3, 3, 2),
    "SnAp1": unspool.SnAp1(3, 3),
    "ElementwiseRTRL": unspool.ElementwiseRTRL(3, 3),
    "Chunked": unspool.Chunked(unspool.NRES(3, 3, SIGMA), 2),
}
SMOOTHING = ("FullES", "TruncatedES", "PES", "GPES, period above window", "NRES", "ControlledGPES")
SMOOTHING += ("ControlledNRES",)
ODD_WINDOWS = {
    "TruncatedES": unspool.TruncatedES(3, 5, SIGMA),
    "PES": unspool.PES(3, 5, SIGMA),
    "GPES": unspool.GPES(3, 5, 10, SIGMA),
    "NRES": unspool.NRES(3, 5, SIGMA),
    "ESSingle": unspool.ESSingle(3, 5, SIGMA),
    "ControlledGPES": unspool.ControlledGPES(3, 5, 5, SIGMA),
    "ControlledNRES": unspool.ControlledNRES(3, 5, SIGMA),
    "PESAnalytic": unspool.PESAnalytic(3, 5, 1e-3),
    "DODGE": unspool.DODGE(3, 5),
    "ForwardGradient": unspool.ForwardGradient(3, 5),
    "TBPTT": unspool.TBPTT(3, 5),
    "RTRL": unspool.RTRL(3, 5),
    "UORO": unspool.UORO(3, 5),
    "LowRankUORO": unspool.LowRankUORO(3, 5),
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
    """The mean is right, and a bias of three fifths of the gradient would have been seen."""
    assert result.passed, result
    assert np.max(result.detectable) < 0.6 * np.max(np.abs(result.reference)), result


def check(problem, estimator, *, target=None):
    key = jax.random.key(0)
    params = problem.init_params(key=key)
    target = estimator.plan(problem.horizon).target if target is None else target
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


# `Chunked` is its estimator up to rounding, as `test_contract.py` checks, `ESSingle` is `NRES` but
# for where workers start, and `ReweightedNRES` is while parameters stay: one problem of each kind
# will do.
SAME = {"Chunked", "ESSingle", "ReweightedNRES"}
# What these know of layers and units makes them `RTRL` on problems of so few parameters;
# `test_recurrent_estimators.py` has recurrent nets.
BY_LAYER = {"KFRTRL", "OK", "SnAp1", "ElementwiseRTRL"}
ONE_OF_EACH_KIND = {"quadratic", "ends early", "random length"}
# Where episodes are alike and losses polynomials, `test_exact_means.py` knows the means exactly;
# where they end early, an estimator that smooths nothing has nothing to see.
TELLING = {("PES", "cubic"), ("NRES", "cosine"), ("UORO", "ends early")}
TELLING |= {(name, "ends early") for name in ("NRES", "PES", "ControlledGPES")}
TELLING |= {("OK", "random length"), ("SnAp1", "learned start")}
# Those that are left out have a sibling that differs in nothing that lengths have to do with.
TELLING |= {
    (name, "random length")
    for name in ("NRES", "PES", "ReweightedNRES", "ControlledNRES", "TBPTT", "UORO")
}


@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        slow(e, p, when=(e, p) not in TELLING)
        for e in ESTIMATORS
        for p in PROBLEMS
        if e not in SAME or p in ONE_OF_EACH_KIND
        if (e, p) != ("ElementwiseRTRL", "quadratic")
    ],
)
def test_the_mean_is_the_gradient_promised(estimator, problem):
    result = check(PROBLEMS[problem], ESTIMATORS[estimator])
    assert result.dropped == 0
    accept(result)


@pytest.mark.parametrize("problem", [slow("learned start"), "random length"])
@pytest.mark.parametrize(
    "estimator",
    [slow(e, when=e not in {"PES", "UORO"}) for e in ODD_WINDOWS],
)
def test_a_window_need_not_divide_the_episode(estimator, problem):
    result = check(PROBLEMS[problem], ODD_WINDOWS[estimator])
    accept(result)


@pytest.mark.parametrize(
    "problem",
    [slow(p, when=p not in {"ends early", "random length"}) for p in PROBLEMS],
)
def test_a_truncated_gradient_is_rejected_as_the_full_one(problem):
    full = ESTIMATORS["NRES"].plan(12).target
    assert not check(PROBLEMS[problem], ESTIMATORS["TruncatedES"], target=full).passed


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["cubic", "cosine"])
def test_smoothing_per_window_is_told_from_smoothing_per_episode(problem):
    per_episode = unspool.NRES(4, 3, 0.3).plan(12).target
    assert not check(PROBLEMS[problem], unspool.PES(4, 3, 0.3), target=per_episode).passed


def test_keys_and_noise_of_the_data_are_shared_by_the_arms():
    """The pairing test: without perturbation the losses of a pair are the same bits."""
    problem = problems.LinearQuadratic(noise=1.0)
    params = problem.init_params(key=jax.random.key(0))
    for make in (unspool.PES, unspool.TruncatedES):
        estimator = make(8, 3, sigma=1e-200)
        state = estimator.init(problem, params, key=jax.random.key(1))
        for _ in range(5):
            estimate, state = estimator.estimate(problem, params, state)
            assert estimate.stats["derivative_std"] == 0.0
            assert jnp.isfinite(estimate.loss)


@pytest.mark.parametrize("name", [slow("NRES"), "PES", slow("TruncatedES"), "TBPTT", slow("UORO")])
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
    right = SIMULATED[name].plan(12).target
    wrong = unspool.Target(3 if right.window is None else None, None, SIGMA)
    exact, other = (flatten(problem.exact_gradient(params, target)) for target in (right, wrong))
    mean, error = simulate(problem, right, 20_000)
    assert np.all(error < 0.05 * np.max(np.abs(exact)))
    assert np.max(np.abs(mean - exact) / error) < 4.5
    assert np.max(np.abs(mean - other) / error) > 6


def test_windows_that_keep_the_noise_of_the_episode_are_simulated():
    """Which no estimator here promises: every window credits the noise that goes on."""
    problem, target = PROBLEMS["learned start"], unspool.Target(3, None, SIGMA)
    exact = flatten(problem.exact_gradient(problem.init_params(key=jax.random.key(0)), target))
    mean, error = simulate(problem, target, 20_000)
    assert np.all(error < 0.05 * np.max(np.abs(exact)))
    assert np.max(np.abs(mean - exact) / error) < 4.5


def test_windows_without_noise_are_simulated_exactly():
    problem, target = PROBLEMS["learned start"], unspool.Target(3)
    exact = flatten(problem.exact_gradient(problem.init_params(key=jax.random.key(0)), target))
    np.testing.assert_allclose(simulate(problem, target, 2)[0], exact, rtol=1e-12)


def test_a_simulated_gradient_has_no_noise_of_windows_gone_by():
    r"""Of a linear loss, with $G_w$ the gradient of window $w$ and fresh noise in each, the
    variance is $\sum_w (P + 1) |G_w|^2$ and not more."""
    problem = polynomial(loss=(1.0, 0.0, 0.0))
    params = problem.init_params(key=None)
    features = np.stack([np.ones(HORIZON), np.arange(HORIZON) - 1], axis=1)
    lives = 2 - np.arange(HORIZON) % 2
    of_windows = np.sum((features * lives[:, None]).reshape(-1, 2, 2), axis=1) / HORIZON
    samples = sample_gradients(
        problem, params, unspool.Target(2, 2, SIGMA), key=jax.random.key(0), num_samples=20_000
    )
    grads = np.stack([samples["level"], samples["slope"]], axis=1)
    squares = np.sum((grads - of_windows.sum(axis=0)) ** 2, axis=1)
    error = squares.std() / np.sqrt(squares.size)
    expected = 3 * np.sum(of_windows**2)
    assert abs(squares.mean() - expected) < 4 * error < 0.1 * expected
