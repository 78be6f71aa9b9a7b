"""Workers that keep the parameters they were born with, while those of training move on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from support.exact import SIZE, Fixed, error, polynomial, promised, table
from unspool import problems
from unspool._estimator.births import LEAST_SHARE, Restarts
from unspool._estimator.reweighting import LARGEST_LOG_WEIGHT, Baseline, Weights

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
    of_noise = lambda entry: estimates_along(make(Fixed(entry)), problem, num_updates, key)
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


@pytest.mark.parametrize("problem", [cubic, learned_start], ids=["cubic", "learned start"])
def test_every_estimate_has_todays_gradient_as_its_mean_while_parameters_move(problem):
    """Three workers are in the three windows of an episode, born at three places of the path."""
    make = lambda directions: Given(3, 2, SIGMA, directions=directions)
    assert max(errors_along(make, problem())) < EXACT


def test_a_scale_that_falls_is_no_bias_as_every_window_keeps_that_of_its_birth():
    """On a quadratic loss, whose gradient no sigma changes."""
    falling = lambda update: SIGMA * 0.9**update
    make = lambda directions: Given(3, 2, falling, directions=directions)
    assert max(errors_along(make, learned_start())) < EXACT


@pytest.mark.parametrize("directions", ["kept at birth", "online"])
def test_what_does_not_reweight_is_off(directions, monkeypatch):
    """Without weights the gradient is that of births; online states are of many parameters."""
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
    assert off[0] < EXACT
    assert max(off[1:]) > WRONG
    assert make(unspool.GaussianDirections()).estimand == "smoothed gradient, with weights clipped"
    assert unspool.ReweightedNRES(3, 2).estimand == "smoothed gradient"


CUBIC = problems.Cubic(horizon=12)
NUM_CHAINS = 6000


def scores_along(estimator, num_updates=8, num_chains=NUM_CHAINS):
    """How many standard errors the means of estimates are off, coordinate by coordinate; and the
    largest of these errors, in parts of the gradient."""
    keys = jax.random.split(jax.random.key(3), num_chains)
    run = jax.jit(jax.vmap(lambda key: estimates_along(estimator, CUBIC, num_updates, key)))
    found = np.asarray(run(keys))
    start = CUBIC.init_params(key=None)
    right = np.stack(
        [
            ravel_pytree(CUBIC.exact_gradient(moved(start, i), estimator.plan(12).target))[0]
            for i in range(num_updates)
        ]
    )
    standard_error = found.std(0, ddof=1) / np.sqrt(num_chains)
    # Rare heavy weights: of what the sample has not seen its spread does not tell.
    return (found.mean(0) - right) / standard_error, np.max(standard_error / np.abs(right).max())


UNBIASED = {
    "baselines learned": unspool.ReweightedNRES(4, 3, SIGMA),
    "restarts": unspool.ReweightedNRES(4, 3, SIGMA, restart_drift=0.5),
    "groups": unspool.ReweightedNRES(4, 3, SIGMA, pairs_per_group=2),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_means_along_a_fixed_path_are_right(name):
    scores, standard_error = scores_along(UNBIASED[name])
    assert np.max(np.abs(scores)) < 4.5
    assert standard_error < 0.1
