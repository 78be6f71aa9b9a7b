"""Workers that keep the parameters that they began with, while those of training move on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from support.exact import SIZE, Fixed, error, polynomial, promised, table
from support.slow import slow
from unspool import problems
from unspool._estimator.reweighting import LARGEST_LOG_WEIGHT, Baseline, Weights
from unspool._estimator.starts import LEAST_SHARE, Restarts
from unspool._random import numbered

pytestmark = pytest.mark.usefixtures("float64")

SIGMA = 0.3
TARGET = unspool.Target(None, None, SIGMA)
# Weights are no polynomials, but so smooth that with many nodes nothing is left to be seen.
nodes = lambda: table(*np.polynomial.hermite_e.hermegauss(24), 1, SIZE)
EXACT, WRONG = 1e-9, 1e-3
cubic = lambda: polynomial(loss=(-1.0, 0.0, 1 / 3))
learned_start = lambda: polynomial(start=(0.5, 1.0), fade=0.7, loss=(-1.0, 0.5, 0.0))


def moved(params, update, by=0.06):
    """The parameters on a path that was fixed beforehand: 0.3 sigmas further in every update."""
    return {"level": params["level"] + by * update, "slope": params["slope"] - by * update}


class Given(unspool.ReweightedNRES):
    """With baselines that are given, where all that is learned would be from one noise."""

    def init_part(self, engine, params, key):
        workers = super().init_part(engine, params, key)
        baseline = Baseline(jnp.array([3.0, -2.0, 5.0]), jnp.ones(3))
        return eqx.tree_at(lambda workers: workers.learned.baseline, workers, baseline)

    def learn(self, workers, sums):
        return workers


def estimates_along(estimator, problem, num_updates, key):
    """Estimates while the parameters move, as rows of numbers."""
    start = problem.init_params(key=key)
    state = estimator.init(problem, start, key=key)

    def update(state, index):
        estimate, state = estimator.estimate(problem, moved(start, index), state)
        return state, ravel_pytree(estimate.grad)[0]

    return jax.lax.scan(update, state, jnp.arange(num_updates))[1]


def means_along(make, problem, num_updates=4):
    """The means of these estimates, by quadrature over the noise of all workers."""
    key = jax.random.key(0)
    of_noise = lambda entry: estimates_along(make(Fixed(entry[None])), problem, num_updates, key)
    found = jax.jit(jax.vmap(of_noise))(nodes().entries)
    return np.tensordot(nodes().weights, found, axes=1)


def promised_along(problem, num_updates=4):
    class Moved(type(problem)):
        update: float = 0.0

        def init_params(self, *, key):
            return moved(super().init_params(key=key), self.update)

    fields = [getattr(problem, name) for name in ("start", "fade", "loss", "share", "horizon")]
    right = [
        promised(TARGET, jax.tree.map(lambda x: jnp.stack([x]), Moved(*fields, jnp.array(1.0 * i))))
        for i in range(num_updates)
    ]
    return [{name: leaf[0] for name, leaf in each.items()} for each in right]


def errors_along(make, problem):
    found = means_along(make, problem)
    right = promised_along(problem)
    as_tree = lambda row: dict(zip(("level", "slope"), row, strict=True))
    return [float(error(as_tree(f), r)) for f, r in zip(found, right, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("problem", [cubic, slow(learned_start)], ids=["cubic", "learned start"])
def test_every_estimate_has_todays_gradient_as_its_mean_while_parameters_move(problem):
    """Three workers are in the three windows of an episode, begun at three places of the path."""
    make = lambda directions: Given(3, 2, SIGMA, directions=directions)
    assert max(errors_along(make, problem())) < EXACT


@pytest.mark.slow
def test_a_scale_that_falls_is_no_bias_as_every_window_keeps_that_of_its_episode():
    """On a quadratic loss, whose gradient no sigma changes."""
    falling = lambda update: SIGMA * 0.9**update
    make = lambda directions: Given(3, 2, falling, directions=directions)
    problem = polynomial(start=(0.5, 0.0), fade=-0.9, loss=(0.2, 0.5, 0.0))
    assert max(errors_along(make, problem)) < EXACT


@pytest.mark.parametrize("directions", ["kept", slow("online")])
def test_what_does_not_reweight_is_off(directions, monkeypatch):
    """Without weights the gradient is an older one; online states are of many parameters."""
    make = lambda directions: Given(3, 2, SIGMA, directions=directions)
    if directions == "online":
        make = lambda directions: unspool.NRES(3, 2, SIGMA, directions=directions)
    else:
        one = lambda noise, drift, most: Weights(jnp.ones((1, 3)), jnp.ones((1, 3)))
        monkeypatch.setattr(Weights, "of", one)
    off = errors_along(make, cubic())
    assert off[0] < EXACT
    assert min(off[1:]) > WRONG


def test_clipped_weights_have_a_bias_that_is_declared():
    make = lambda directions: Given(3, 2, SIGMA, directions=directions, max_weight=1.5)
    off = errors_along(make, cubic())
    # Where the parameters are still those that all began with, no weight is clipped.
    assert off[0] < EXACT
    assert min(off[1:]) > WRONG
    assert make(unspool.GaussianDirections()).estimand == "smoothed gradient, with weights clipped"
    assert unspool.ReweightedNRES(3, 2, SIGMA).estimand == "smoothed gradient"


CUBIC = problems.Cubic(horizon=12)
NUM_UPDATES, NUM_CHAINS = 8, 6000


def sample_along(estimator, num_updates=NUM_UPDATES):
    """Estimates of many independent chains on the same path, as numbers of updates x chains."""
    keys = jax.random.split(jax.random.key(3), NUM_CHAINS)
    run = jax.jit(jax.vmap(lambda key: estimates_along(estimator, CUBIC, num_updates, key)))
    return np.moveaxis(np.asarray(run(keys)), 0, 1)


def scores(found):
    """How many standard errors means are off, and the largest error in parts of the gradient."""
    start = CUBIC.init_params(key=None)
    exact = lambda index: CUBIC.exact_gradient(moved(start, index), TARGET)
    right = np.stack([ravel_pytree(exact(index))[0] for index in range(NUM_UPDATES)])
    error = found.std(axis=1, ddof=1) / np.sqrt(NUM_CHAINS)
    return (found.mean(axis=1) - right) / error, np.max(error) / np.max(np.abs(right))


UNBIASED = {
    "baselines that are learned": unspool.ReweightedNRES(4, 3, SIGMA),
    "restarts": unspool.ReweightedNRES(4, 3, SIGMA, restart_drift=0.5),
    "groups in chunks": unspool.Chunked(
        unspool.ReweightedNRES(4, 3, SIGMA, pairs_per_group=2, restart_drift=0.9), 2
    ),
}


@pytest.mark.parametrize("name", [slow(name, when=name != "restarts") for name in UNBIASED])
def test_means_along_a_fixed_path_are_right(name):
    found, error = scores(sample_along(UNBIASED[name]))
    assert np.max(np.abs(found)) < 4.5
    assert error < 0.1


@pytest.mark.slow
def test_restarts_that_ask_for_weights_select_on_the_noise(monkeypatch):
    """The negative control: workers of light weights begin anew, and as many as before."""

    def by_weight(self, key, episode, window, keep):
        chance = super_draw(self, key, episode, window, keep)
        noise = jax.vmap(lambda number: jax.random.normal(numbered(key, number, 0), (SIZE,)))
        # The drift goes up for the first parameter and down for the second.
        light = jnp.abs(noise(episode) @ jnp.array([1.0, -1.0])) < 0.95
        return jnp.where(jnp.all(keep == 1), chance, light)

    super_draw = Restarts.draw
    monkeypatch.setattr(Restarts, "draw", by_weight)
    found, _ = scores(sample_along(unspool.ReweightedNRES(4, 3, SIGMA, restart_drift=0.5)))
    assert np.max(np.abs(found)) > 6


@pytest.mark.slow
def test_the_share_of_each_window_is_what_workers_do():
    """Counted over many chains, and never below a quarter of the share without restarts."""
    estimator = unspool.ReweightedNRES(2, 3, SIGMA, restart_drift=0.5)
    start = CUBIC.init_params(key=None)

    def run(key):
        state = estimator.init(CUBIC, start, key=key)

        def update(state, index):
            _, state = estimator.estimate(CUBIC, moved(start, index), state)
            (workers,) = state
            t = workers.trajectories.clock.t
            window = jnp.where(t >= 12, 0, t // 3)
            return state, (workers.learned.starts.share, window)

        return jax.lax.scan(update, state, jnp.arange(NUM_UPDATES))[1]

    share, window = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), 4000))
    assert np.ptp(share, axis=0).max() == 0
    counted = np.mean(np.asarray(window)[..., None] == np.arange(4), axis=2)
    error = np.maximum(counted.std(axis=0), 0.1) / np.sqrt(4000)
    assert np.max(np.abs(counted.mean(axis=0) - share[0]) / error) < 4.5
    assert np.min(share) >= LEAST_SHARE / 4 - 1e-12
    assert np.max(share) > 0.4


@pytest.mark.parametrize("settings", [slow({}), {"max_weight": 2.0, "restart_drift": 1.0}])
def test_where_parameters_stay_it_is_the_antithetic_pair(settings):
    params, key = CUBIC.init_params(key=None), jax.random.key(1)
    apart = unspool.GaussianDirections()
    known = unspool.NRES(4, 5, SIGMA, pairs_per_group=2, directions=apart)
    estimator = unspool.ReweightedNRES(4, 5, SIGMA, pairs_per_group=2, **settings)
    state, other = (each.init(CUBIC, params, key=key) for each in (estimator, known))
    for _ in range(4):
        mine, state = estimator.estimate(CUBIC, params, state)
        pair, other = known.estimate(CUBIC, params, other)
        for name, leaf in pair.grad.items():
            np.testing.assert_allclose(mine.grad[name], leaf, rtol=1e-12)
        assert mine.stats["effective_workers"] == 4


def test_effective_workers_are_fewer_where_parameters_have_drifted():
    estimator, key = unspool.ReweightedNRES(64, 3, SIGMA), jax.random.key(1)
    params = CUBIC.init_params(key=None)
    state = estimator.init(CUBIC, params, key=key)
    found = []
    for distance in (0.0, 0.06, 0.3):
        estimate, _ = estimator.estimate(CUBIC, moved(params, 1, distance), state)
        found.append(float(estimate.stats["effective_workers"]))
    # Of 64 pairs 48 began before the parameters moved; E[w]^2 / E[w^2] is exp(-|drift|^2).
    assert found[0] == 64
    for distance, effective in zip((0.06, 0.3), found[1:], strict=True):
        square = 2 * (distance / SIGMA) ** 2
        expected = 64 / (0.25 + 0.75 * np.exp(square))
        assert effective == pytest.approx(expected, rel=0.05 if distance < 0.1 else 0.4)


def test_no_weight_overflows_and_none_that_vanishes_spoils_an_estimate():
    noise, drift = {"x": jnp.full((1, 2, 400), 1.0)}, {"x": jnp.full((2, 400), 1.0)}
    weights = Weights.of(noise, drift, None)
    assert np.all(weights.plus == np.exp(LARGEST_LOG_WEIGHT))
    assert np.isfinite(np.float32(weights.plus) ** 2).all() and np.all(weights.minus < 1e-200)
    assert np.all(Weights.of(noise, drift, 3.0).plus == pytest.approx(3.0))
    estimator, params = unspool.ReweightedNRES(4, 12, SIGMA), CUBIC.init_params(key=None)
    state = estimator.init(CUBIC, params, key=jax.random.key(0))
    _, state = estimator.estimate(CUBIC, params, state)
    estimate, _ = estimator.estimate(CUBIC, moved(params, 1e6), state)
    assert estimate.result == unspool.RESULTS.successful


class Witness(unspool.AbstractProblem):
    """Its state is the parameters of the first step; a loss is one where a step has others."""

    horizon: int = 12

    def init_params(self, *, key):
        return jnp.array([3.0, -1.0])

    def init_state(self, params, *, key):
        return params

    def step(self, params, state, t, *, key):
        return state, jnp.where(jnp.all(params == state), 0.0, 1.0)


@pytest.mark.parametrize("kind", [slow("float32"), "bfloat16"])
def test_an_arm_keeps_the_same_bits_from_start_to_end(kind):
    params, problem = jnp.array([3.0, -1.0], kind), Witness()
    for make, changes in ((unspool.ReweightedNRES, False), (unspool.NRES, True)):
        estimator, losses = make(4, 3, 0.03), []
        state = estimator.init(problem, params, key=jax.random.key(0))
        for index in range(8):
            now = params + jnp.asarray(0.07 * index, kind)
            estimate, state = estimator.estimate(problem, now, state)
            losses.append(float(estimate.loss))
        assert (max(losses) > 0) == changes


REFUSED = {
    "max_weight must be at least 1": lambda: unspool.ReweightedNRES(4, 3, 0.1, max_weight=0.5),
    "restart_drift must be above 0": lambda: unspool.ReweightedNRES(4, 3, 0.1, restart_drift=0.0),
    "spread over the episode at first": lambda: unspool.ReweightedNRES(
        4, 3, 0.1, restart_drift=1.0, phases=unspool.Staggered()
    ),
    "couples the directions of different": lambda: unspool.ReweightedNRES(
        4, 3, 0.1, directions=unspool.LatticeDirections()
    ),
    "at most 1000 parameters, got 1001": lambda: unspool.ReweightedNRES(4, 3, 0.1).init(
        Witness(), jnp.zeros(1001), key=jax.random.key(0)
    ),
    "episodes of one length": lambda: unspool.ReweightedNRES(4, 3, 0.1, restart_drift=1.0).init(
        problems.RandomLength(), jnp.zeros(2), key=jax.random.key(0)
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_right_is_refused(words):
    with pytest.raises(ValueError, match=words):
        REFUSED[words]()
