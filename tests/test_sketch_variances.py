"""How noisy sketches are on a random net of six units, for one sequence of inputs."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import unspool
from support.slow import slow
from unspool._random import Purpose, numbered, seeded_key, stream

pytestmark = pytest.mark.usefixtures("float64")

PROBLEM = unspool.problems.RandomNet()
T = PROBLEM.horizon
WEIGHTS, INPUTS = jax.random.key(7), jax.random.key(107)

# The variance of an episode's gradient over the squared norm of the gradient, as measured
# with 2000 workers, and the standard error of that.
MEASURED = {
    "UORO": (unspool.UORO(1, T), 3.278, 0.101),
    "UORO at the parameters": (unspool.UORO(1, T, cut=unspool.ParameterCut()), 34.51, 1.17),
    "UORO at preactivations": (unspool.UORO(1, T, cut=unspool.PreactivationCut()), 3.800, 0.119),
    "(1, 1)": (unspool.LowRankUORO(1, T, 1, 1), 2.845, 0.070),
    "(2, 1)": (unspool.LowRankUORO(1, T, 2, 1), 1.091, 0.013),
    "(4, 1)": (unspool.LowRankUORO(1, T, 4, 1), 0.7502, 0.0078),
    "(2, 2)": (unspool.LowRankUORO(1, T, 2, 2), 0.8670, 0.0092),
    "(4, 2)": (unspool.LowRankUORO(1, T, 4, 2), 0.3251, 0.0021),
    "(4, 6)": (unspool.LowRankUORO(1, T, 4, 6), 0.0348, 0.0002),
    "ARTBP": (unspool.ARTBP(1, 0.1), 0.0581, 0.0008),
}


def relative_errors(estimator, count, seed=8):
    """Squared errors of so many workers, over the squared norm of the gradient."""
    params = PROBLEM.init_params(key=WEIGHTS)

    def gradient(estimator, noise_key):
        (workers,) = estimator.init_workers(PROBLEM, params, INPUTS)
        workers = replace(workers, noise_key=noise_key)
        return ravel_pytree(estimator.estimate(PROBLEM, params, (workers,))[0].grad)[0]

    exact = np.asarray(jax.jit(lambda key: gradient(unspool.BPTT(1), key))(WEIGHTS))
    many = jax.jit(lambda keys: jax.lax.map(lambda k: gradient(estimator, k), keys, batch_size=100))
    found = np.asarray(many(jax.random.split(jax.random.key(seed), count)))
    deviation = found.mean(axis=0) - exact
    errors = np.sum((found - exact) ** 2, axis=1)
    # The mean is right: its squared error is what independent estimates leave, and not more.
    assert deviation @ deviation < 1.6 * errors.mean() / count
    return errors / (exact @ exact)


@pytest.mark.parametrize("name", [slow(name, when=name != "(4, 2)") for name in MEASURED])
def test_the_variance_is_the_one_that_was_measured(name):
    estimator, expected, error = MEASURED[name]
    count = 400 if name == "(4, 2)" else 2000
    found = relative_errors(estimator, count)
    assert abs(found.mean() - expected) < 4 * np.hypot(found.std() / np.sqrt(count), error)


def steps_by_hand():
    """Of each step: the loss and the state by the state before, and what multiplies weights."""
    cell = PROBLEM.init_params(key=WEIGHTS)
    episode = numbered(stream(INPUTS, Purpose.DATA), 1)
    weighing = np.asarray(jax.random.normal(seeded_key(PROBLEM.seed), (6,)))
    state = np.zeros(6)
    for t in range(T):
        shown = jax.random.normal(numbered(stream(episode, Purpose.STEP), t), (3,))
        inputs = np.concatenate([shown, state, [1.0]])
        state = np.tanh(np.c_[cell.weight_ih, cell.weight_hh, cell.bias] @ inputs)
        yield weighing, 1 - state**2, np.asarray(cell.weight_hh), inputs


def uoro_by_hand(count):
    """The published algorithm in NumPy, for so many workers: gradients of the mean loss."""
    rng, gradients = np.random.default_rng(0), np.zeros((count, 60))
    left, right = np.zeros((count, 6)), np.zeros((count, 60))
    norm = lambda x: np.linalg.norm(x, axis=1, keepdims=True)
    for weighing, slope, weights, inputs in steps_by_hand():
        carried = left @ weights.T * slope
        newest = np.outer(weighing * slope, inputs).ravel()
        gradients += ((carried @ weighing)[:, None] * right + newest) / T
        signs = rng.choice([-1.0, 1.0], (count, 6))
        pulled = np.einsum("ni,j->nij", signs * slope, inputs).reshape(count, 60)
        old = np.sqrt(norm(right) / norm(carried)) if np.any(right) else 1.0
        new = np.sqrt(norm(pulled) / norm(signs))
        left, right = old * carried + new * signs, right / old + pulled / new
    return gradients


def rtrl_by_hand():
    gradient, influence = np.zeros(60), np.zeros((6, 60))
    for weighing, slope, weights, inputs in steps_by_hand():
        influence = slope[:, None] * (weights @ influence + np.kron(np.eye(6), inputs))
        gradient += weighing @ influence / T
    return gradient


def test_uoro_written_out_in_numpy_has_the_same_variance():
    exact, found = rtrl_by_hand(), uoro_by_hand(20_000)
    errors = np.sum((found - exact) ** 2, axis=1) / (exact @ exact)
    _, expected, error = MEASURED["UORO"]
    assert abs(errors.mean() - expected) < 4 * np.hypot(errors.std() / np.sqrt(20_000), error)
    assert np.sum((found.mean(axis=0) - exact) ** 2) < 1.6 * errors.mean() / 20_000 * exact @ exact
