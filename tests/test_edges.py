"""Right values at the edges: weights, first steps, evaluations, estimates that are of no use."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import extend
from unspool._make_step import begin_anew
from unspool._random import Purpose, numbered, stream

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


# --- Weights of random lengths. ---


class PerEpisode(unspool.AbstractProblem):
    """The parameter is lost once per episode, in equal parts, however many steps there are."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.array(3.0)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        return state + params, params

    @property
    def episodes(self):
        return unspool.Episodes(
            draw_length=lambda *, key: jax.random.randint(key, (), 1, self.horizon + 1),
            weight=lambda length: 1 / length,
        )


def test_a_step_weighs_what_the_length_of_its_own_episode_says():
    """Gradient and loss of an episode are then the same whatever its length."""
    problem, estimator = PerEpisode(), unspool.BPTT(64)
    params = problem.init_params(key=KEY)
    estimate, state = estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))
    np.testing.assert_allclose(estimate.grad, 1 / 6, rtol=1e-12)
    engine = unspool.LocalEngine(problem)
    rows = engine.start(params, jax.random.split(KEY, 64))
    assert set(rows.clock.length.tolist()) == {1, 2, 3, 4, 5, 6}
    _, first = engine.unroll(params, rows, 2)
    np.testing.assert_allclose(
        first[0], 3.0 * np.minimum(2, rows.clock.length) / rows.clock.length, rtol=1e-12
    )
    after, losses = engine.unroll(params, rows, 6)
    np.testing.assert_allclose(losses, 3.0, rtol=1e-12)
    np.testing.assert_allclose(after.arms.state[0], 3.0 * rows.clock.length, rtol=1e-12)


# --- Evaluations. ---

DRAWN: list = []


def note(key):
    """Adds the words of a key to `DRAWN` whenever a compiled program comes by."""
    append = lambda words: DRAWN.append(tuple(words.tolist()))
    jax.debug.callback(append, jax.random.key_data(key))


class Draws(unspool.AbstractProblem):
    """A loss is a standard normal number of the episode's own, whose key is noted if wanted."""

    horizon: int = 2
    noted: bool = True

    def init_params(self, *, key):
        return jnp.array(1.0)

    def init_state(self, params, *, key):
        if self.noted:
            note(key)
        return jax.random.normal(key)

    def step(self, params, state, t, *, key):
        return state, params * state


def drawn(run):
    DRAWN.clear()
    found = jax.block_until_ready(run())
    jax.effects_barrier()
    return set(DRAWN), found


def test_no_episode_of_an_evaluation_is_one_of_training():
    """With the same key, and more episodes of each than anybody would compare by hand."""
    train = lambda: (
        list(
            unspool.train(Draws(), unspool.NRES(4, 1, 0.1), optax.sgd(0.0), num_updates=16, key=KEY)
        )[-1].params
    )
    params = jnp.array(1.0)
    trained, _ = drawn(train)
    evaluated, found = drawn(lambda: unspool.evaluate(Draws(), params, key=KEY, num_episodes=64))
    assert len(trained) > 30 and len(evaluated) == 64
    assert not trained & evaluated
    again, same = drawn(lambda: unspool.evaluate(Draws(), params, key=KEY, num_episodes=64))
    assert again == evaluated and same == found


def test_the_episodes_of_an_evaluation_are_of_no_other_purpose():
    evaluated, _ = drawn(lambda: unspool.evaluate(Draws(), jnp.array(1.0), key=KEY, num_episodes=8))
    starts = {}
    for purpose in Purpose:
        root = stream(KEY, purpose)
        many = [numbered(root, i) for i in range(32)] + list(jax.random.split(root, 8))
        starts[purpose.name] = {
            tuple(jax.random.key_data(stream(key, Purpose.START)).tolist()) for key in many
        }
    assert evaluated & starts.pop("EVALUATION")
    assert not any(evaluated & others for others in starts.values())


def test_the_standard_error_of_an_evaluation_is_that_of_its_mean():
    """Of standard normal losses, over keys; the bounds are four standard errors wide."""
    num_keys, num_episodes, problem = 400, 50, Draws(noted=False)
    find = lambda key: unspool.evaluate(problem, jnp.array(1.0), key=key, num_episodes=num_episodes)
    found = jax.lax.map(lambda key: find(key)[:2], jax.random.split(KEY, num_keys))
    z = found[0] / found[1]
    # Student's t with 49 degrees of freedom.
    assert abs(np.mean(z**2) - 49 / 47) < 4 * np.std(z**2) / np.sqrt(num_keys)
    assert np.std(z**2) / np.sqrt(num_keys) < 0.1
    errors = np.asarray(found[1]) * np.sqrt(num_episodes)
    assert abs(np.mean(errors**2) - 1) < 4 * np.sqrt(2 / 49 / num_keys) < 0.05


def test_one_episode_has_no_standard_error():
    problem = Draws(noted=False)
    find = lambda key: unspool.evaluate(problem, jnp.array(1.0), key=key).standard_error
    assert jnp.all(jnp.isnan(jax.lax.map(find, jax.random.split(KEY, 400))))


class Constant(PerEpisode):
    """Every step loses the parameter."""

    @property
    def episodes(self):
        return dataclasses.replace(super().episodes, weight=lambda length: 1.0)


def test_lengths_alone_are_no_error_of_a_loss_per_step():
    found = unspool.evaluate(Constant(), jnp.array(3.0), key=KEY, num_episodes=20)
    np.testing.assert_allclose(found[:2], (3.0, 0.0), atol=1e-12)


# --- Estimates of no use. ---


class Spoiled(unspool.BPTT):
    """An estimator whose gradient is not finite, and which says so."""

    def estimate(self, engine, params, state):
        estimate, state = super().estimate(engine, params, state)
        spoiled = (estimate.grad * jnp.nan, unspool.RESULTS.nonfinite_gradient)
        return eqx.tree_at(lambda e: (e.grad, e.result), estimate, spoiled), state


class Root(unspool.AbstractProblem):
    """The loss is finite at zero, its derivative is not; below zero it is no number."""

    horizon: int = 2

    def init_params(self, *, key):
        return jnp.array(1.0)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        return state, jnp.sqrt(params)


@pytest.mark.parametrize(
    ("estimator", "params", "is_used"),
    [
        pytest.param(unspool.BPTT(2), 1.0, True, id="sound"),
        pytest.param(Spoiled(2), 1.0, False, id="a gradient that is not finite"),
        slow(unspool.BPTT(2), 0.0, False, id="derivatives that are not finite"),
        pytest.param(unspool.BPTT(2), -1.0, False, id="losses that are not finite"),
    ],
)
def test_an_estimate_of_no_use_moves_neither_parameters_nor_optimizer(estimator, params, is_used):
    init, step = unspool.make_step(Root(), estimator, optax.adam(0.1))
    before = init(jnp.array(params), key=KEY)
    after, estimate = step(before)
    moved = [
        not np.array_equal(new, old)
        for new, old in zip(
            jax.tree.leaves((after.params, after.optimizer)),
            jax.tree.leaves((before.params, before.optimizer)),
            strict=True,
        )
    ]
    assert all(moved) if is_used else not any(moved)
    assert after.update == 1
    assert bool(estimate.result == unspool.RESULTS.successful) == is_used


# --- Counting. ---


def halved(update):
    return 0.5**update


class Square(unspool.AbstractProblem):
    """At zero the mean loss of a pair is the square of its perturbation."""

    horizon: int = 8

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        return state, params**2


class Ones(extend.AbstractDirections):
    def couples_episodes(self, pairs):
        return False

    def draw(self, params, draw):
        return jax.tree.map(lambda x: jnp.ones((draw.numbers.size, *x.shape), x.dtype), params)


class Halving(extend.AbstractPerturbed):
    """Moves every parameter by a sigma that is halved with every update."""

    num_workers: int
    window: int
    estimand: ClassVar[str] = "nothing: the directions are not random"

    @property
    def tableau(self):
        return extend.Tableau(
            window=self.window,
            period=self.window,
            probe=extend.Antithetic(),
            sigma=halved,
            directions=Ones(),
        )


@pytest.mark.parametrize("num_problems", [1, 2])
def test_new_episodes_forget_no_update(num_problems):
    """When simulators are gone, training goes on with the sigma that it has come to."""
    engine = unspool.JointProblem([Square()] * num_problems) if num_problems > 1 else Square()
    estimator = Halving(3, 2)
    init, step = unspool.make_step(engine, estimator, optax.sgd(0.0))
    state = init(jnp.array(0.0), key=KEY)
    for update in range(3):
        state, estimate = step(state)
        np.testing.assert_allclose(estimate.loss, halved(update) ** 2, rtol=1e-12)
    first = state
    state = begin_anew(engine, estimator, state, key=KEY)
    assert state.update == 3
    roots = lambda state: [jax.random.key_data(part.data_key) for part in state.workers]
    for old, new in zip(roots(first), roots(state), strict=True):
        assert np.any(old != new)
    _, estimate = step(state)
    np.testing.assert_allclose(estimate.loss, halved(3) ** 2, rtol=1e-12)


# --- Episodes that are over at their start. ---


class Stillborn(unspool.AbstractProblem):
    """Over before it begins where the parameter is not above zero."""

    horizon: int = 4

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return {"level": params, "steps": jnp.array(0)}

    def step(self, params, state, t, *, key):
        return state | {"steps": state["steps"] + 1}, 2.0 + params

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: state["level"] <= 0)


@pytest.mark.parametrize("window", [4, 2, 3])
def test_an_episode_that_is_over_at_its_start_is_not_run(window):
    engine = unspool.LocalEngine(Stillborn())
    shift = jnp.array([[0.5, -0.5], [-0.5, 0.5]])
    rows = engine.start(jnp.array(0.0), jax.random.split(KEY, 2), shift)
    assert rows.arms.done.tolist() == [[False, True], [True, False]]
    after, losses = engine.unroll(jnp.array(0.0), rows, window, shift)
    runs = np.array([[1, 0], [0, 1]])
    assert np.array_equal(losses, 2.5 * window * runs)
    assert np.array_equal(after.arms.state["steps"], window * runs)


def test_half_of_a_pair_may_be_over_at_its_start():
    """At sigma 1 the one arm loses 3 in every step, the other has none to lose 1 in."""
    problem, params, estimator = Stillborn(), jnp.array(0.0), Halving(2, 4)
    estimate, _ = estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))
    assert estimate.grad == 1.5 and estimate.stats["dropped"] == 0


def test_what_is_never_run_has_no_gradient():
    problem, params, estimator = Stillborn(), jnp.array(-1.0), unspool.BPTT(2)
    estimate, _ = estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))
    assert estimate.grad == 0 and estimate.stats["dropped"] == 0


# --- Keys of steps. ---


class Keys(unspool.AbstractProblem):
    """A state that holds every key that the episode has been given, the start's first."""

    horizon: int = 5

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.zeros((1 + self.horizon, 2), jnp.uint32).at[0].set(jax.random.key_data(key))

    def step(self, params, state, t, *, key):
        return state.at[1 + t].set(jax.random.key_data(key)), 0.0 * params

    @property
    def episodes(self):
        return unspool.Episodes(draw_length=self._draw_length)

    def _draw_length(self, *, key):
        note(key)
        return jnp.array(self.horizon)


def test_no_two_draws_share_a_key_and_the_arms_of_a_worker_share_all():
    engine = unspool.LocalEngine(Keys())

    def run():
        rows = engine.start(jnp.array(0.0), jax.random.split(KEY, 3), jnp.ones((2, 3)))
        half, _ = engine.unroll(jnp.array(0.0), rows, 2, jnp.ones((2, 3)))
        return engine.unroll(jnp.array(0.0), half, 3, jnp.ones((2, 3)))[0].arms.state

    lengths, state = drawn(run)
    assert np.array_equal(state[0], state[1])
    words = [tuple(word) for word in np.asarray(state[0]).reshape(-1, 2).tolist()]
    roots = [tuple(word) for word in jax.random.key_data(jax.random.split(KEY, 3)).tolist()]
    assert len(lengths) == 3
    assert len({*words, *lengths, *roots}) == 3 * 6 + 3 + 3
