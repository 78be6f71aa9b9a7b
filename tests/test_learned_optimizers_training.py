"""Learned optimizers that are trained: without bias, to some use, and with frozen parts."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.learned_optimizers import count, distance, run, trees
from unspool.problems.learned_optimizer import (
    FactoredMLP,
    Frozen,
    LearnedSGD,
    OptimizerTraining,
    Task,
)
from unspool.problems.schedules import Data, Model, TrainLoss


def quadratic(optimizer, horizon):
    """Two weights of different curvature, learning the mean of noisy targets."""
    curvature = jnp.array([1.0, 0.3])
    loss = lambda weights, batch: jnp.sum(curvature * (weights - jnp.mean(batch, axis=0)) ** 2)
    targets = np.random.default_rng(1).normal(1, 0.3, (16, 2)).astype(np.float32)
    model = Model(lambda key: 0.3 * jax.random.normal(key, (2,)), loss)
    task = Task(model, Data(targets, batch_size=4))
    return OptimizerTraining(optimizer, task, horizon, TrainLoss())


@pytest.mark.slow
def test_nres_is_unbiased_on_the_training_of_an_optimizer(key):
    problem = quadratic(LearnedSGD(0.1, 0.5), horizon=4)
    nres = unspool.NRES(num_workers=4, window=2, sigma=0.1)
    test = unspool.check_unbiased(problem, nres, key=key, num_chains=1000)
    assert test.passed and not np.any(test.dropped)
    params = problem.init_params(key=key)
    reference = jax.tree.unflatten(jax.tree.structure(params), [*jnp.asarray(test.reference)])
    short = unspool.TruncatedES(num_workers=4, window=1, sigma=0.1)
    control = unspool.check_unbiased(
        problem, short, key=key, reference=reference, num_chains=1000, level=1e-6
    )
    assert not control.passed


def meta_train(problem, rate, num_updates=60):
    estimator = unspool.NRES(num_workers=8, window=5, sigma=0.05)
    key = jax.random.key(0)
    *_, record = unspool.train(
        problem, estimator, optax.adam(rate), num_updates=num_updates, key=key
    )
    return record


@pytest.mark.slow
def test_a_poor_learning_rate_is_mended(key):
    problem = quadratic(LearnedSGD(1e-3), horizon=20)
    start, up, down = (
        unspool.evaluate(problem, params, key=key, num_episodes=50)
        for params in (
            problem.init_params(key=key),
            meta_train(problem, 0.1).params,
            meta_train(problem, -0.1).params,
        )
    )
    error = math.hypot(start.standard_error, up.standard_error)
    assert up.loss < start.loss - 5 * error
    assert down.loss > start.loss


@pytest.mark.slow
def test_what_is_frozen_stays_and_the_rest_learns(key, tmp_path):
    inner = FactoredMLP(0.01)
    params = inner.init_params(key=key)
    frozen = Frozen(inner, params, ("network.layer0", "log_rate"))
    problem = quadratic(frozen, horizon=20)
    record = meta_train(problem, 0.01, 5)
    assert record.params["log_rate"] is None and count(record.params) == 291 - 201
    path = tmp_path / "state.npz"
    unspool.save_checkpoint(path, record.state)
    assert distance(unspool.load_checkpoint(path, record.state).params, record.params) == 0
    found = frozen.full(jax.tree.map(jnp.asarray, record.params))
    assert jax.tree.structure(found) == jax.tree.structure(params)
    fixed = lambda tree: (tree["log_rate"], tree["network"]["layer0"])
    assert distance(fixed(found), fixed(params)) == 0
    assert distance(found["network"]["layer2"], params["network"]["layer2"]) > 0
    # Without it, they move; and whoever hands in other numbers for them has no say.
    free = meta_train(quadratic(inner, horizon=20), 0.01, 5).params
    assert min(map(distance, fixed(free), fixed(params))) > 0
    assert distance(fixed(frozen.full(free)), fixed(params)) == 0
    weights, gradients = trees(2)
    learned = jax.tree.map(jnp.asarray, record.params)
    ours = run(frozen, learned, weights, [gradients])
    assert distance(ours, run(inner, found, weights, [gradients])) == 0


@pytest.mark.slow
def test_every_kind_of_estimator_leaves_out_what_is_frozen(key):
    sgd = LearnedSGD()
    problem = quadratic(Frozen(sgd, sgd.init_params(key=key), ("log_rate",)), horizon=4)
    params = problem.init_params(key=key)
    for estimator in (
        unspool.BPTT(num_workers=2),
        unspool.DODGE(num_workers=2, window=2),
        unspool.UORO(num_workers=2, window=2),
        unspool.RTRL(num_workers=2, window=2),
    ):
        state = estimator.init(problem, params, key=key)
        estimate, _ = estimator.estimate(problem, params, state)
        assert estimate.grad["log_rate"] is None
        assert np.isfinite(estimate.grad["logit_momentum"])


def test_frozen_says_which_names_there_are(key):
    sgd = LearnedSGD()
    params = sgd.init_params(key=key)
    with pytest.raises(ValueError, match="some of log_rate, logit_momentum, .*'rate' do not exist"):
        Frozen(sgd, params, ("rate",))
    with pytest.raises(ValueError, match=r"some of log_rate, logit_momentum, got \(\)$"):
        Frozen(sgd, params, ())
    with pytest.raises(ValueError, match="names must leave something to be learned"):
        Frozen(sgd, params, ("log_rate", "logit_momentum"))
    with pytest.raises(ValueError, match=r"params must be those of LearnedSGD, of shapes .* got"):
        Frozen(sgd, {"log_rate": params["log_rate"]}, ("log_rate",))
