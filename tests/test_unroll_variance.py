"""The variance of an episode's sum: closed form, measurement, and the experiment of both."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from support.slow import slow
from unspool import BPTT, PES, ESSingle, PESAnalytic, RunError
from unspool.experiments import (
    InfluenceBalancingExperiment,
    UnrollVarianceExperiment,
    reproduce,
)
from unspool.experiments.published.variance import Linearization, measured_series, window_estimates
from unspool.problems import CharacterLSTM, InfluenceBalancing
from unspool.records import Series

ESTIMATORS = {"PES": PES, "PES+Analytic": PESAnalytic, "ESSingle": ESSingle}
PROBLEMS = {
    "text": CharacterLSTM("abcabba", num_hidden=2, num_embedded=2),
    "balancing": InfluenceBalancing(6, size=5, num_positive=2),
}
"""Many parameters, and one, where the second term of the formula counts as much as the first."""


def start(problem):
    return problem.init_params(key=jax.random.key(42))


def all_gradients(problem, params, window):
    """`G[w, u]`: each window's loss by each window's own copy of the parameters."""
    theta, unravel = ravel_pytree(params)
    num_windows, key = problem.horizon // window, jax.random.key(0)

    def losses(copies):
        def step(state, t):
            return problem.step(unravel(copies[t // window]), state, t, key=key)

        start = problem.init_state(params, key=key)
        found = jax.lax.scan(step, start, jnp.arange(problem.horizon))[1]
        return found.reshape(num_windows, window).sum(axis=1)

    return np.asarray(jax.jit(jax.jacrev(losses))(jnp.tile(theta, (num_windows, 1))))


def literal(G, second_term=True, analytic=False):
    """The causal formula term by term, for PES or for PES+Analytic."""
    (num_windows, _, P), square = G.shape, np.sum(G.sum(axis=(0, 1)) ** 2)
    if analytic:
        G = np.where(np.eye(num_windows)[:, :, None] == 1, 0, G)
    total = 0.0
    for w in range(num_windows):
        for v in range(num_windows):
            m = min(w, v) + (0 if analytic else 1)
            total += P * m * np.sum(G[w, :m] * G[v, :m])
            total += second_term * G[w, :m].sum(axis=0) @ G[v, :m].sum(axis=0)
    return total / square


def squared_errors(problem, label, window, num_episodes):
    """Those of single pairs over the squared gradient, by reverse mode."""
    params, keys = start(problem), jax.random.split(jax.random.key(7), num_episodes)
    reverse = BPTT(1)
    found, _ = reverse.estimate(problem, params, reverse.init(problem, params, key=keys[0]))
    exact = problem.horizon * np.asarray(ravel_pytree(found.grad)[0])
    estimator = ESTIMATORS[label](1, window, sigma=1e-3)
    sums = np.asarray(window_estimates(problem, estimator, params, keys)[0]).sum(axis=1)
    return np.sum((sums - exact) ** 2, axis=1) / np.sum(exact**2)


def z_score(values, expected):
    return (values.mean() - expected) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("num_characters", [3, 34, 50])
def test_the_number_of_parameters(num_characters):
    vocabulary = "".join(map(chr, range(100, 100 + num_characters)))
    problem = CharacterLSTM(vocabulary[0] * 5, vocabulary)
    params = jax.eval_shape(lambda: start(problem))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 11 * num_characters + 240


def test_the_text_is_read_character_by_character():
    """The first loss by hand: the state is zero, so that only the input reaches the gates."""
    problem = CharacterLSTM("ba", "abc")
    params = jax.tree.map(np.asarray, start(problem))
    gates = params["input"] @ params["embedding"][1] + params["input_bias"]
    enter, _, fresh, leave = np.split(gates + params["recurrence_bias"], 4)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    hidden = sigmoid(leave) * np.tanh(sigmoid(enter) * np.tanh(fresh))
    logits = params["decoder"] @ hidden + params["decoder_bias"]
    state = problem.init_state(params, key=jax.random.key(0))
    after, loss = problem.step(start(problem), state, jnp.array(0), key=jax.random.key(0))
    np.testing.assert_allclose(after["hidden"], hidden, rtol=1e-5)
    assert float(loss) == pytest.approx(np.log(np.sum(np.exp(logits))) - logits[0], rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CharacterLSTM("a"), "text must have at least 2 characters, got 'a'"),
        (lambda: CharacterLSTM("abc", "ab"), r"every character of the text, got none of \['c'\]"),
        (lambda: CharacterLSTM(num_hidden=0), "num_hidden .* at least 1, got 0"),
        (lambda: UnrollVarianceExperiment(num_particles=5), "must be even, got 5; .* is 6"),
        (lambda: UnrollVarianceExperiment(horizon=1001), "1001, got 1001; .* is 1000"),
        (lambda: UnrollVarianceExperiment(text="absent.txt"), "not there: absent.txt"),
    ],
)
def test_what_cannot_be_had_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_closed_form_is_the_sum_over_all_pairs_of_windows(float64, name, window):
    problem, params = PROBLEMS[name], start(PROBLEMS[name])
    G = all_gradients(problem, params, window)
    found = Linearization.of(problem, params).joined(window)
    np.testing.assert_allclose(found.gradient, G.sum(axis=(0, 1)), rtol=1e-9)
    expected = {
        "PES": literal(G),
        "PES+Analytic": literal(G, analytic=True),
        "ESSingle": G.shape[-1] + 1,
    }
    assert found.relative_variances() == pytest.approx(expected, rel=1e-9)
    alone = Linearization.of(problem, params).joined(6).relative_variances()
    assert alone["PES"] == pytest.approx(alone["ESSingle"]) and alone["PES+Analytic"] == 0


@pytest.mark.parametrize("label", ["PES", slow("PES+Analytic"), slow("ESSingle")])
@pytest.mark.parametrize("name", ["balancing", slow("text")])
def test_the_closed_form_is_what_is_measured(float64, name, label):
    """With the formula for other windows, or short of a term, as negative controls."""
    problem, params = PROBLEMS[name], start(PROBLEMS[name])
    steps = Linearization.of(problem, params)
    closed = steps.joined(2).relative_variances()
    expected = closed[label]
    values = squared_errors(problem, label, 2, 4000 if name == "text" else 20_000)
    assert values.std(ddof=1) / np.sqrt(len(values)) < 0.05 * expected
    assert abs(z_score(values, expected)) < 4
    if label == "ESSingle":
        assert abs(z_score(values, closed["PES"])) > 6
        return
    assert abs(z_score(values, steps.relative_variances()[label])) > 6
    if name == "balancing":
        G = all_gradients(problem, params, 2)
        short = literal(G, second_term=False, analytic=label == "PES+Analytic")
        assert abs(z_score(values, short)) > 6


def test_without_noise_from_earlier_windows_there_is_none(float64):
    assert np.max(squared_errors(PROBLEMS["balancing"], "PES+Analytic", 6, 3)) < 1e-20


@pytest.mark.slow
def test_sequences_are_ordered_as_the_closed_form_says():
    """One character repeated, English, random characters, if every step is an unroll."""
    experiment = UnrollVarianceExperiment(horizon=100)
    closed, measured = [], []
    for problem in experiment.problems().values():
        steps = Linearization.of(problem, start(problem))
        closed.append(steps.relative_variances()["PES"])
        keys = jax.random.split(jax.random.key(3), 10)
        found, _ = window_estimates(problem, PES(20, 1, sigma=1e-3), start(problem), keys)
        sums = np.asarray(found, np.float64).sum(axis=1)
        square = np.sum((sums - steps.gradient) ** 2, axis=1) / np.sum(steps.gradient**2)
        measured.append(20 * square)
    english, drawn, repeated = closed
    assert repeated < english < drawn
    for values, expected in zip(measured, closed, strict=True):
        assert abs(z_score(values, expected)) < 4
        assert values.std(ddof=1) / np.sqrt(len(values)) < 0.15 * expected
    english, drawn, repeated = measured
    for low, high in ((repeated, english), (english, drawn)):
        error = np.hypot(low.std(ddof=1), high.std(ddof=1)) / np.sqrt(len(low))
        assert high.mean() - low.mean() > 4 * error


def test_where_pes_is_better_in_influence_balancing():
    """At a window of one step PES is the better one up to about 50 unrolls."""
    problem = InfluenceBalancing(100)
    steps = Linearization.of(problem, start(problem))
    better = [steps.first(T).relative_variances()["PES"] < 2 for T in range(2, 101)]
    assert better == [T <= 55 for T in range(2, 101)]


def test_bands_are_intervals_of_the_mean():
    points, band = measured_series("a", np.array([1, 2]), np.array([[1.0, 4.0], [3.0, 4.0]]))
    assert points.y == [2.0, 4.0] and points.style == "points"
    np.testing.assert_allclose(band.low, [2 - 12.706, 4], rtol=1e-4)
    assert [s.style for s in measured_series("a", np.array([1]), np.array([[1.0]]))] == ["points"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory, told = tmp_path_factory.mktemp("variance") / "here", []
    experiment = UnrollVarianceExperiment(seeds=2, horizon=1, num_particles=4)
    reproduce(experiment, directory, num_processes=1, on_progress=told.append)
    return directory, told


@pytest.mark.slow
def test_an_experiment_without_trainings_has_a_page(finished, tmp_path):
    pytest.importorskip("matplotlib")
    from unspool import report

    directory, told = finished
    assert sorted(path.name for path in directory.iterdir()) == ["experiment.json", "measured"]
    assert [now.done for now in told] == sorted(now.done for now in told)
    assert told[-1].done == told[-1].total == {now.total for now in told}.pop()
    page = report([directory], tmp_path / "page.html").read_text()
    assert page.count("<figure") == 3
    assert "Random characters" in page and "means over 2 repeats" in page
    assert "What was run" not in page


def test_points_lie_where_their_windows_are():
    experiment = UnrollVarianceExperiment(horizon=10, num_particles=4)
    measured = {
        "PES window 10": np.array([[1.0, 2.0, 3.0], [1.0, 4.0, 3.0]]),
        "PES window 5": np.array([[5.0, 6.0, 7.0]]),
    }
    chart = experiment.measured_charts(measured)[1]
    series = {(s.label, s.style): s for s in chart.series}
    assert series["PES", "line"].x == [1, 2, 5, 10]
    assert series["PES+Analytic", "line"].x == [2, 5, 10]
    assert series["PES", "points"] == Series.points("PES", [1.0, 2.0], [4.0, 12.0])
    assert ("ESSingle", "points") not in series


@pytest.mark.slow
def test_measurements_are_kept_and_seeds_added(finished):
    directory, _ = finished
    file = directory / "measured" / "ESSingle-window-1.json"
    before, told = json.loads(file.read_text())["values"], []
    more = UnrollVarianceExperiment(seeds=3, horizon=1, num_particles=4)
    reproduce(more, directory, num_processes=1, on_progress=told.append)
    after = json.loads(file.read_text())["values"]
    assert {seed: after[seed] for seed in before} == before and list(after) == ["101", "103", "107"]
    assert [now.seed for now in told if not np.isnan(now.loss)] == [107] * 2
    other = UnrollVarianceExperiment(horizon=1, num_particles=6)
    with pytest.raises(RunError, match="with num_particles 4 instead of 6"):
        reproduce(other, directory, num_processes=1)


def test_a_text_of_ones_own(tmp_path):
    Path(tmp_path / "mine.txt").write_text("aabbccab")
    experiment = UnrollVarianceExperiment(text=str(tmp_path / "mine.txt"), horizon=6)
    (first, drawn, repeated) = experiment.problems().values()
    assert first.codes.tolist() == [0, 0, 1, 1, 2, 2, 0] and first.num_codes == drawn.num_codes == 3
    assert set(repeated.codes.tolist()) == {0}
    assert experiment.windows == (1, 2, 6)
    labels = [found.label for found in experiment.measurements()]
    assert "PES+Analytic window 6" not in labels and "ESSingle window 1" in labels


def test_labels_of_measurements_and_entries_differ():
    experiment = InfluenceBalancingExperiment()
    measured = {found.label for found in experiment.measurements()}
    assert len(measured) == 3
    assert not measured & {entry.label for entry in experiment.entries()}
