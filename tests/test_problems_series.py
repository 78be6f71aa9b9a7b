"""Fits of series: the loss in closed form, the default record, and files that are read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool.problems as problems
from support.problems import initial_params, mean_loss


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
        ("time,a,a\n0,1,1\n1,2,2\n", "must name each column once, got 'a' twice or more"),
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
