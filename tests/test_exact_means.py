"""The mean of every estimator to the last digits, by quadrature over all that it draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.exact import (
    HORIZON,
    SIZE,
    Rigged,
    average,
    error,
    gaussian,
    mean,
    mean_of_perturbed,
    nothing,
    polynomial,
    promised,
    stack,
    table,
)
from support.slow import slow
from unspool._estimator import artbp, uoro
from unspool._random import Purpose, stream
from unspool.problems._closed_form import gain_and_variance

pytestmark = pytest.mark.usefixtures("float64")

SIGMA = 0.3
# Where the mean is right, rounding leaves some 1e-15.
EXACT, WRONG = 1e-12, 1e-3

STEPS = np.arange(HORIZON)
cubic = lambda: polynomial(loss=(-1.0, 0.0, 1 / 3))
learned_start = lambda: polynomial(start=(0.5, 1.0), fade=0.7, loss=(-1.0, 0.5, 0.0))
every_kind = lambda: stack(
    cubic(),
    learned_start(),
    polynomial(start=(0.5, 0.0), fade=-0.9, loss=(0.3, 0.2, 0.5), share=STEPS),
    polynomial(loss=(0.0, 0.5, 1 / 6), share=HORIZON * (STEPS == HORIZON - 1)),
)
# In the parameters, too: their start is not squared. No noise moves their gradients.
quadratics = lambda: stack(
    polynomial(loss=(-1.0, 0.5, 0.0)),
    polynomial(start=(0.5, 0.0), fade=-0.9, loss=(0.2, 0.5, 0.0), share=STEPS),
)

ONE = unspool.WindowGradientControl()
# Windows of two and three steps divide the episode of six; those of four and five do not.
PERTURBED = {
    "FullES": unspool.FullES(2, SIGMA),
    "TruncatedES": unspool.TruncatedES(2, 2, SIGMA),
    "TruncatedES, odd": unspool.TruncatedES(2, 4, SIGMA),
    "PES": unspool.PES(3, 2, SIGMA),
    "PES, odd": unspool.PES(2, 4, SIGMA),
    "GPES, period above window": unspool.GPES(2, 1, 2, SIGMA),
    "GPES, period below window": unspool.GPES(2, 4, 2, SIGMA),
    "GPES, odd period": unspool.GPES(2, 2, 4, SIGMA),
    "NRES": unspool.NRES(3, 2, SIGMA),
    "NRES, odd": unspool.NRES(2, 5, SIGMA),
    "ESSingle": unspool.ESSingle(2, 2, SIGMA),
    "ControlledGPES, period above window": unspool.ControlledGPES(2, 1, 2, SIGMA, control=ONE),
    "ControlledGPES, period below window": unspool.ControlledGPES(2, 4, 2, SIGMA, control=ONE),
    "ControlledNRES": unspool.ControlledNRES(2, 2, SIGMA, control=ONE),
    "DODGE": unspool.DODGE(2, 2),
    "DODGE, period above window": unspool.DODGE(2, 1, 2),
    "DODGE, period below window": unspool.DODGE(2, 4, 2),
    "ForwardGradient": unspool.ForwardGradient(2, 2),
    "ForwardGradient, odd": unspool.ForwardGradient(2, 5),
    "NRES, sigma by leaf": unspool.NRES(2, 3, {"level": 0.1, "slope": 0.4}),
    "PES, sigma by leaf": unspool.PES(2, 3, {"level": 0.1, "slope": 0.4}),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_the_mean_of_a_perturbed_estimator_is_the_gradient_promised(name):
    estimator, problems = PERTURBED[name], every_kind()
    found = mean_of_perturbed(estimator, problems)
    assert np.max(error(found, promised(estimator.plan(HORIZON).target, problems))) < EXACT


def test_promises_differ():
    """What the estimators above are held against: none is another's."""
    names = "NRES", "PES", "TruncatedES", "DODGE", "NRES, sigma by leaf", "ForwardGradient"
    gradients = [promised(PERTURBED[name].plan(HORIZON).target, stack(cubic())) for name in names]
    for i, one in enumerate(gradients):
        assert all(np.min(error(one, other)) > WRONG for other in gradients[:i])


@pytest.mark.parametrize("workers_at_once", [1, 2])
def test_chunks_change_no_mean(workers_at_once):
    estimator, problems = PERTURBED["PES"], every_kind()
    rig = lambda entry: unspool.Chunked(Rigged(estimator, entry), workers_at_once)
    found = mean(rig, gaussian(estimator.window), problems)
    assert np.max(error(found, promised(estimator.plan(HORIZON).target, problems))) < EXACT


class ForAllWindows(unspool.ControlledNRES):
    """The biased way: a coefficient for all windows, so that an episode reads its own noise."""

    def learn(self, workers, sums):
        workers = super().learn(workers, sums)
        pool = lambda x: jnp.broadcast_to(jnp.sum(x), x.shape)
        learned = workers.learned._replace(control=jax.tree.map(pool, workers.learned.control))
        return dataclasses.replace(workers, learned=learned)


@pytest.mark.parametrize(
    ("kind", "is_exact"), [(unspool.ControlledNRES, True), (ForAllWindows, False)]
)
@pytest.mark.parametrize("window", [2, slow(4)])
def test_a_fitted_coefficient_changes_no_mean(kind, is_exact, window):
    """Of estimates of the second and third episode, over all noises of these and the first."""
    control = unspool.FittedWindowControl(fewest_pairs=1)
    estimator, problems = kind(1, window, SIGMA, control=control), every_kind()
    count = estimator.plan(HORIZON).num_windows
    later = lambda windows: average(jax.tree.map(lambda g: g[count : 2 * count], windows))
    found = mean_of_perturbed(estimator, problems, later, num_episodes=3)
    off = error(found, promised(estimator.plan(HORIZON).target, problems))
    assert np.max(off) < EXACT if is_exact else np.max(off) > WRONG


WITHOUT_NOISE = {
    "BPTT": unspool.BPTT(2),
    "TBPTT": unspool.TBPTT(3, 2),
    "TBPTT, odd": unspool.TBPTT(2, 5),
    "RTRL": unspool.RTRL(3, 2),
    "RTRL, odd": unspool.RTRL(2, 5),
}


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_an_estimator_that_draws_nothing_is_exact(name):
    estimator, problems = WITHOUT_NOISE[name], every_kind()
    found = mean(lambda _: estimator, nothing(), problems)
    assert np.max(error(found, promised(estimator.plan(HORIZON).target, problems))) < EXACT


@pytest.mark.parametrize("window", [2, slow(4)])
def test_the_mean_of_uoro_over_all_signs_is_the_gradient(window, monkeypatch):
    """One sign at a birth, which counts as step 0, and one after each step."""
    estimator, problems, signs = unspool.UORO(2, window), every_kind(), []
    root = jax.random.key_data(stream(jax.random.key(0), Purpose.NOISE))

    def look_up(key, state):
        _, step = jax.random.key_data(key) ^ root
        return signs[-1][step]

    def rig(entry):
        signs.append(entry)
        return estimator

    monkeypatch.setattr(uoro, "_draw_signs", look_up)
    found = mean(rig, table([-1.0, 1.0], [1.0, 1.0], HORIZON + 1), problems)
    assert np.max(error(found, promised(unspool.Target(), problems))) < EXACT
    one_sign = mean(rig, table([1.0], [1.0], HORIZON + 1), problems)
    assert np.min(error(one_sign, promised(unspool.Target(), problems))) > WRONG


@pytest.mark.parametrize(("truncation", "count_passes"), [(0.3, True), (0.7, True), (0.3, False)])
def test_the_mean_over_all_cuts_is_the_gradient_if_what_passes_counts_more(
    truncation, count_passes, monkeypatch
):
    """A cut after each step, of which nobody sees the last."""
    estimator, problems, passes = unspool.ARTBP(2, truncation), every_kind(), []
    root = jax.random.key_data(stream(jax.random.key(0), Purpose.NOISE))

    def look_up(chance, key):
        _, step = jax.random.key_data(key) ^ root
        return passes[-1][step] > 0

    def rig(entry):
        passes.append(entry)
        return estimator

    monkeypatch.setattr(artbp, "_draw_passes", look_up)
    if not count_passes:
        gate = artbp._gate
        plain = lambda passes, factors, state: gate(passes, jnp.ones_like(factors), state)
        monkeypatch.setattr(artbp, "_gate", plain)
    found = mean(rig, table([0.0, 1.0], [truncation, 1 - truncation], HORIZON), problems)
    off = error(found, promised(unspool.Target(), problems))
    assert np.max(off) < EXACT if count_passes else np.min(off) > WRONG


SCHEDULED = {
    "FullES": unspool.FullES(2, lambda update: 0.5 * 0.7**update),
    "PES": unspool.PES(2, 2, lambda update: 0.5 * 0.7**update),
    "GPES": unspool.GPES(2, 1, 2, lambda update: 0.5 * 0.7**update),
    "NRES": unspool.NRES(2, 2, lambda update: 0.5 * 0.7**update),
    "ESSingle": unspool.ESSingle(2, 2, lambda update: 0.5 * 0.7**update),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_of_sigma_biases_nothing(name):
    """Each score keeps the sigma that it was drawn with. No sigma matters to a quadratic loss."""
    problems = quadratics()
    found = mean_of_perturbed(SCHEDULED[name], problems)
    assert np.max(error(found, promised(unspool.Target(), problems))) < EXACT


@pytest.mark.parametrize("window", [2, 4])
def test_pes_with_an_analytic_window_is_exact_where_noise_does_not_matter(window):
    problems = quadratics()
    found = mean_of_perturbed(unspool.PESAnalytic(2, window, SIGMA), problems)
    assert np.max(error(found, promised(unspool.Target(), problems))) < EXACT


def test_the_bias_of_pes_with_an_analytic_window_is_the_known_one():
    """On a cubic: what the newest window's copies say, they say of the unperturbed state."""
    estimator, problems = unspool.PESAnalytic(2, 2, SIGMA), stack(cubic())
    found = mean_of_perturbed(estimator, problems)
    features, sigmas = np.stack([np.ones(HORIZON), STEPS - 1], axis=1), np.full(SIZE, SIGMA)
    gain, variance = gain_and_variance(features, unspool.Target(None, 2, SIGMA), sigmas)
    newest, _ = gain_and_variance(features, unspool.Target(2, 2, SIGMA), sigmas)
    params = cubic().init_params(key=None)
    mean_state = (features @ np.array([params["level"], params["slope"]])).cumsum()
    exact = ((mean_state**2 - 1) @ gain + variance @ (gain - newest)) / HORIZON
    exact = {"level": exact[:1], "slope": exact[1:]}
    assert error(found, exact) < EXACT
    assert error(found, promised(estimator.plan(HORIZON).target, problems)) > WRONG


def test_controls_take_away_the_noise_of_what_they_explain():
    r"""Of a loss that is linear, with $G_u$ the influence of window $u$ on the loss of window $w$,
    one pair's variance is $P m \sum |G_u|^2 + |\sum G_u|^2$ over $u < w$, with m = w - 1 noises
    credited by PES+Analytic and m = w by the unbiased form; with one noise for all it is
    (P + 1) |sum|^2."""
    num_windows = HORIZON // 2
    features = np.stack([np.ones(HORIZON), STEPS - 1], axis=1)
    influence = np.zeros((num_windows, num_windows, SIZE))
    for t in range(HORIZON):
        for j in range(t + 1):
            influence[t // 2, j // 2] += features[j]
    means = influence.sum(axis=1)
    squares = dict.fromkeys(("PESAnalytic", "ControlledGPES", "NRES"), np.sum(means**2))
    for w in range(num_windows):
        earlier = influence[w, :w]
        each, aligned = np.sum(earlier**2), np.sum(earlier.sum(0) ** 2)
        squares["PESAnalytic"] += SIZE * w * each + aligned
        squares["ControlledGPES"] += SIZE * (w + 1) * each + aligned
        squares["NRES"] += (SIZE + 1) * aligned
    estimators = {
        "PESAnalytic": unspool.PESAnalytic(1, 2, SIGMA),
        "ControlledGPES": unspool.ControlledGPES(1, 2, 2, SIGMA, control=ONE),
        "NRES": unspool.ControlledNRES(1, 2, SIGMA, control=ONE),
    }
    total = lambda windows: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(windows))
    problems = stack(polynomial(loss=(1.0, 0.0, 0.0)))
    for name, estimator in estimators.items():
        found = mean_of_perturbed(estimator, problems, of=total)
        assert 4 * found == pytest.approx(squares[name], rel=EXACT), name
    assert len({round(value, 6) for value in squares.values()}) == 3
