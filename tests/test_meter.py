"""What training says of noise and lag."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.plane import SLOPE, Plane
from support.slow import slow
from unspool import problems

KEY = jax.random.key(0)
APART = unspool.GaussianDirections()


def train_chains(estimator, num_updates, num_chains=400):
    """The variances of the last update and of the first episode, for each of many trainings that
    leave the parameters where they are."""
    init, step = unspool.make_step(Plane(), estimator, optax.sgd(0.0))

    def one(key):
        state = init(jnp.zeros(2), key=key)
        advance = lambda state, _: step(state)
        state, estimates = jax.lax.scan(advance, state, length=num_updates)
        last = jax.tree.map(lambda x: x[-1], (estimates.grad, estimates.noise))
        return state.meter.variance / state.meter.weight, estimates.stats["variance"][-1], last

    return jax.jit(jax.vmap(one))(jax.random.split(KEY, num_chains))


def z_score(values, expected):
    values = np.asarray(values, float)
    return (np.mean(values) - expected) / (np.std(values, ddof=1) / np.sqrt(len(values)))


def one_worker():
    """The variance of a worker's z z^T c, summed over the parameters."""
    return (len(SLOPE) + 1) * float(SLOPE @ SLOPE)


@pytest.mark.parametrize(
    ("num_workers", "pairs"), [(4, 1), (12, 2), slow(3, 1)], ids=["even", "groups", "odd"]
)
def test_the_variance_is_that_of_independent_workers(num_workers, pairs):
    estimator = unspool.NRES(num_workers, 3, 0.1, pairs_per_group=pairs, directions=APART)
    _, variance, (grad, noise) = train_chains(estimator, 2)
    right = one_worker() / num_workers
    assert abs(z_score(variance, right)) < 4
    assert abs(z_score(variance, right * 1.5)) > 4
    # As noisy as the estimate, and around zero.
    assert abs(z_score(np.sum((np.asarray(grad) - SLOPE) ** 2, axis=1), right)) < 4
    assert np.all(np.abs([z_score(entry, 0.0) for entry in np.asarray(noise).T]) < 4)


@pytest.mark.parametrize(
    ("estimator", "share"),
    [
        # Half of the workers begin an episode in the middle, with a noise of its own.
        (unspool.NRES(4, 3, 0.1), 0.5 * 1 + 0.5 * (0.5**2 + 0.5**2)),
        # Each update has noises of its own.
        (unspool.TruncatedES(4, 3, 0.1), 0.5),
        (unspool.FullES(4, 0.1), 1.0),
    ],
    ids=["NRES", "TruncatedES", "FullES"],
)
def test_the_variance_of_an_episode_is_that_of_its_mean(estimator, share):
    episode, *_ = train_chains(estimator, estimator.plan(6).num_windows)
    right = share * one_worker() / 4
    assert abs(z_score(episode, right)) < 4
    assert abs(z_score(episode, right * 1.5)) > 4


@pytest.mark.slow
def test_chunks_and_whole_have_the_same_variance():
    whole = unspool.NRES(6, 3, 0.1)
    found = train_chains(whole, 2, num_chains=3)
    chunked = train_chains(unspool.Chunked(whole, 4), 2, num_chains=3)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), found, chunked)


def records(estimator, optimizer, num_updates):
    options = {"num_updates": num_updates, "key": KEY, "log_every": 1}
    return list(unspool.train(Plane(), estimator, optimizer, **options))


def test_lag_is_the_way_of_an_episode_in_sigmas():
    sigma = jnp.array([0.1, 0.4])
    found = records(unspool.NRES(4, 3, sigma), optax.sgd(0.01), 5)
    assert np.isnan(found[0].lag)
    moved = (found[3].params - found[1].params) / sigma
    assert found[3].lag == pytest.approx(float(jnp.linalg.norm(moved)) / 2**0.5, rel=1e-5)
    assert found[4].lag == found[3].lag


def test_a_clear_gradient_has_more_signal_than_a_hidden_one():
    """A mean of 1000 directions against that of 2, whose variance is 3 times the squared slope.

    Over the ten episodes or so that are remembered, the variance is known to a factor of two.
    """
    ratio = lambda count: records(unspool.FullES(count, 0.1, directions=APART), optax.sgd(0.0), 40)[
        -1
    ]
    clear, hidden = ratio(1000), ratio(2)
    assert 1000 / 9 < clear.signal_to_noise < 1000
    assert -1 < hidden.signal_to_noise < 5


@pytest.mark.parametrize("estimator", [unspool.BPTT(), unspool.NRES(1, 3, 0.1)], ids=repr)
def test_what_has_no_workers_to_compare_says_nothing_of_noise(estimator):
    estimate, _ = estimator.estimate(
        Plane(), jnp.zeros(2), estimator.init(Plane(), jnp.zeros(2), key=KEY)
    )
    assert estimate.noise is None and "variance" not in estimate.stats
    last = records(estimator, optax.sgd(0.01), 3)[-1]
    assert np.isnan([last.update_variance, last.episode_variance, last.signal_to_noise]).all()


def test_a_run_that_goes_on_says_the_same(tmp_path):
    """Sums since the last checkpoint's episode began are kept."""
    job = problems.InfluenceBalancing(horizon=30), unspool.NRES(4, 10, 0.1), optax.sgd(1e-3)
    whole = unspool.Run.create(tmp_path / "whole", {})
    cut = unspool.Run.create(tmp_path / "cut", {})
    options = {"key": KEY, "log_every": 1, "checkpoint_every": 1}
    list(whole.train(*job, num_updates=8, **options))
    list(cut.train(*job, num_updates=4, **options))
    list(cut.train(*job, num_updates=8, **options))
    for line, other in zip(whole.read_metrics(), cut.read_metrics(), strict=True):
        assert (line.lag, line.episode_variance) == (other.lag, other.episode_variance)
    assert line.update_variance is not None and line.signal_to_noise is not None
