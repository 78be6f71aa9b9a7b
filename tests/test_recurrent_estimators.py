"""KF-RTRL, OK, SnAp-1 and element-wise RTRL: their means over all signs, and what they refuse."""

import itertools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.cells import ELEMENTWISE, PRODUCTS, CellProblem
from support.slow import slow
from unspool import _rows as rows
from unspool._estimator import kronecker
from unspool._estimator.kronecker import AbstractReduction, KroneckerSum, Terms
from unspool._random import Purpose, stream
from unspool.extend import AbstractInfluence

pytestmark = pytest.mark.usefixtures("float64")

EXACT, WRONG = 1e-12, 1e-3
KEY = jax.random.key(0)


def flat(tree):
    return rows.ravel(eqx.filter(tree, eqx.is_inexact_array))[0]


def windows(estimator, problem, params):
    """The estimates of one episode of all workers, flat."""
    plan = estimator.plan(problem.horizon)
    num_warmup = plan.num_warmup_windows

    def window(state, _):
        estimate, state = estimator.estimate(problem, params, state)
        return state, flat(estimate.grad)

    state = estimator.init_workers(problem, params, KEY)
    return jax.lax.scan(window, state, length=num_warmup + plan.num_windows)[1][num_warmup:]


def exact_gradient(problem, params):
    """Of the mean loss of a step."""

    def loss(params):
        state, total = problem.init_state(params, key=KEY), 0.0
        for t in range(problem.horizon):
            state, loss = problem.step(params, state, jnp.array(t), key=KEY)
            total += loss
        return total / problem.horizon

    return flat(jax.jit(jax.grad(loss))(params))


def over_signs(monkeypatch, estimator, problem, signs):
    """The mean estimate of an episode for each table of signs, by step, layer and term."""
    root, held = jax.random.key_data(stream(KEY, Purpose.NOISE)), []
    params = problem.init_params(key=KEY)

    def look_up(key, num_layers, num_terms):
        _, step = jax.random.key_data(key) ^ root
        # The first step's terms are mixed with nothing, and what the last one mixes is not read.
        step = step.astype(int)
        signs = jnp.where(step < 2, 1.0, held[-1][jnp.clip(step - 2, 0, 1)])
        return jnp.pad(signs, ((0, 0), (0, num_terms + 1 - signs.shape[1])), constant_values=1)

    def one(entry):
        held.append(entry)
        return windows(estimator, problem, params).mean(axis=0)

    monkeypatch.setattr(kronecker, "_draw_signs", look_up)
    return np.asarray(jax.jit(jax.vmap(one))(signs)), np.asarray(exact_gradient(problem, params))


def all_signs(*shape):
    each = itertools.product([-1.0, 1.0], repeat=int(np.prod(shape)))
    return jnp.array(list(each)).reshape(-1, *shape)


def off(found, right):
    return np.linalg.norm(found - right) / np.linalg.norm(right)


# Layers with more than one input are random; others count too.
NUM_LAYERS = {"transposed": 2, "highway": 2, "twice": 2, "eqx.nn.GRUCell": 3, "first GRU": 2}
NUM_LAYERS |= {"row": 3, "learned start": 2, "jitted": 2}
ONE_LAYER = set(PRODUCTS) - set(NUM_LAYERS)
KRONECKER = {
    "KFRTRL": unspool.KFRTRL(1, 1),
    "KFRTRL, windows": unspool.KFRTRL(1, 2),
    "OK, one term": unspool.OK(1, 1, num_terms=1),
    "OK, two terms": unspool.OK(1, 2, num_terms=2),
}
FAST = [(name, "plain") for name in KRONECKER]
FAST += [("KFRTRL", "eqx.nn.GRUCell"), ("OK, one term", "eqx.nn.LSTMCell")]
# Six signs in two layers would make too many tables, and four in three.
CASES = [(name, cell) for name in KRONECKER for cell in PRODUCTS]
CASES = [(name, cell) for name, cell in CASES if name != "OK, two terms" or cell in ONE_LAYER]


def count_signs(estimator):
    """For each layer and step; the two of KF-RTRL matter by their product alone."""
    return estimator.num_terms + 1 if isinstance(estimator, unspool.OK) else 1


@pytest.mark.parametrize(("name", "cell"), [slow(*case, when=case not in FAST) for case in CASES])
def test_the_mean_over_all_signs_is_the_gradient(name, cell, monkeypatch):
    """Signs that are always the same are rejected."""
    estimator, problem = KRONECKER[name], CellProblem(PRODUCTS[cell])
    signs = all_signs(2, NUM_LAYERS.get(cell, 1), count_signs(estimator))
    found, right = over_signs(monkeypatch, estimator, problem, signs)
    assert off(found.mean(axis=0), right) < EXACT
    assert off(found[-1], right) > WRONG


class OneSided(AbstractReduction):
    """A reduction, one of whose signs the inputs do not see."""

    reduction: AbstractReduction

    @property
    def num_terms(self):
        return self.reduction.num_terms

    def reduce(self, terms, signs):
        unseen = self.reduction.reduce(terms, signs.at[-1].set(1.0))
        return Terms(unseen.inputs, self.reduction.reduce(terms, signs).responses)


class Wrong(AbstractInfluence):
    """An estimator with such a reduction."""

    estimator: AbstractInfluence
    estimand: ClassVar[str] = "gradient"

    @property
    def num_workers(self):
        return self.estimator.num_workers

    @property
    def window(self):
        return self.estimator.window

    @property
    def sketch(self):
        return KroneckerSum(OneSided(self.estimator.sketch.reduction))


@pytest.mark.parametrize("name", ["KFRTRL", "OK, one term", "OK, two terms"])
def test_a_sign_that_one_side_does_not_see_is_rejected(name, monkeypatch):
    problem = CellProblem(PRODUCTS["plain"])
    signs = all_signs(2, 1, 1 + KRONECKER[name].sketch.reduction.num_terms)
    found, right = over_signs(monkeypatch, Wrong(KRONECKER[name]), problem, signs)
    assert off(found.mean(axis=0), right) > WRONG


@pytest.mark.parametrize("cell", ["plain", "learned start", slow("highway")])
def test_with_as_many_terms_as_inputs_nothing_is_random(cell):
    problem = CellProblem(PRODUCTS[cell])
    params = problem.init_params(key=KEY)
    run = lambda estimator: np.asarray(jax.jit(lambda: windows(estimator, problem, params))())
    exact = run(unspool.RTRL(1, 1))
    assert off(run(unspool.OK(1, 1, num_terms=6)), exact) < EXACT
    assert off(run(unspool.OK(1, 1, num_terms=2)), exact) > WRONG


@pytest.mark.parametrize(
    "cell", [slow(cell, when=cell != "element-wise LSTM") for cell in ELEMENTWISE]
)
def test_an_element_wise_recurrence_is_learned_exactly(cell):
    problem = CellProblem(ELEMENTWISE[cell], horizon=6)
    params = problem.init_params(key=KEY)
    run = lambda estimator: np.asarray(jax.jit(lambda: windows(estimator, problem, params))())
    found = run(unspool.ElementwiseRTRL(2, 2))
    assert off(found.mean(axis=0), np.asarray(exact_gradient(problem, params))) < EXACT
    assert off(run(unspool.TBPTT(2, 2)).mean(axis=0), found.mean(axis=0)) > WRONG


def masked(problem, params):
    """The mean gradient of SnAp-1 as it is defined, with whole matrices: influences are kept
    where the immediate Jacobian has entries, and newest steps are exact."""
    state = problem.init_state(params, key=KEY)
    _, unravel = rows.ravel(state)
    whole, unravel_params = rows.ravel(params)

    def step(whole, state, t):
        after, loss = problem.step(unravel_params(whole), unravel(state), t, key=KEY)
        return rows.ravel(after)[0], loss

    state, influence, total = rows.ravel(state)[0], 0.0, 0.0
    for t in range(problem.horizon):
        direct, before = jax.grad(lambda w, s, t=t: step(w, s, t)[1], argnums=(0, 1))(whole, state)
        total += direct + before @ (influence * jnp.ones((state.size, whole.size)))
        now, carried = jax.jacrev(lambda w, s, t=t: step(w, s, t)[0], argnums=(0, 1))(whole, state)
        influence = jnp.where(now != 0, carried @ (influence * jnp.ones_like(now)) + now, 0)
        state, _ = step(whole, state, t)
    return total / problem.horizon


@pytest.mark.parametrize("cell", ["plain", slow("eqx.nn.GRUCell"), slow("transposed")])
def test_snap_keeps_influences_within_units(cell):
    problem = CellProblem(PRODUCTS[cell])
    params = problem.init_params(key=KEY)
    found = jax.jit(lambda: windows(unspool.SnAp1(1, 1), problem, params).mean(axis=0))()
    assert off(np.asarray(found), jax.jit(lambda: masked(problem, params))()) < EXACT
    assert off(np.asarray(found), np.asarray(exact_gradient(problem, params))) > WRONG


def test_what_is_not_element_wise_is_refused():
    problem = CellProblem(PRODUCTS["plain"])
    params = problem.init_params(key=KEY)
    with pytest.raises(ValueError, match="in state an entry depends on other entries"):
        unspool.ElementwiseRTRL(1, 1).init(problem, params, key=KEY)
