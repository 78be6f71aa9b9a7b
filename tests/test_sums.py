"""Sums of float32 losses are as good as the losses: what a pair differs by is not rounded away."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from unspool import _rows as rows
from unspool._engine import local

KEY = jax.random.key(0)
SIGMA = 1e-3
LENGTHS = (1, 127, 128, 129, 1000, 4096, 9973)


class Losses(unspool.AbstractProblem):
    """The loss of step t is `bases[t]` plus the parameter, rounded once."""

    bases: jax.Array
    horizon: int = 9973

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.array(0)

    def step(self, params, state, t, *, key):
        return state + 1, self.bases[t] + params


class RandomLength(Losses):
    """Episodes of one of the lengths."""

    @property
    def episodes(self):
        return unspool.Episodes(
            draw_length=lambda *, key: jax.random.choice(key, jnp.array(LENGTHS))
        )


class EarlyEnd(RandomLength):
    """The like, as an end that is found out step by step."""

    def init_state(self, params, *, key):
        return -jax.random.choice(key, jnp.array(LENGTHS))

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: state >= 0)


def constant(base, num_steps=9973):
    return np.full(num_steps, base, np.float32)


def oscillating(base, num_steps=9973):
    """As large up as down, so that the sum is far smaller than its terms."""
    return (base * np.cos(np.arange(num_steps) * 1.7)).astype(np.float32)


def in_float64(bases, shifts, num_steps):
    """The sums of the same float32 losses, arm by arm and worker by worker."""
    totals = np.zeros(shifts.shape)
    for index in np.ndindex(shifts.shape):
        losses = bases[: num_steps[index[1]]] + np.float32(shifts[index])
        totals[index] = np.sum(losses, dtype=np.float64)
    return totals


def draw_shifts(num_arms, num_workers):
    """A pair, and where there are three arms one that stays."""
    z = np.random.default_rng(0).normal(size=num_workers)
    z = np.sign(z) * np.maximum(np.abs(z), 0.1) * SIGMA
    return np.stack([z, -z, 0 * z][:num_arms]).astype(np.float32)


@eqx.filter_jit
def unroll(engine, shifts, keys, num_steps):
    params = jnp.array(0.0)
    start = engine.start(params, keys, shifts)
    after, losses = engine.unroll(params, start, num_steps, shifts)
    return after.arms.taken, losses


def check(losses, bases, shifts, num_steps):
    """How far the differences of pairs are off as a share, together; each is checked as well.

    Sums are right to five digits of that of absolute losses. Differences of them are right to the
    spacing of float32 numbers as large as they are.
    """
    exact = in_float64(bases, shifts, num_steps)
    losses = np.asarray(losses)
    size = np.array([np.sum(np.abs(bases[:n]), dtype=np.float64) for n in num_steps])
    assert np.all(np.abs(losses - exact) < 3e-6 * size)
    spacing = np.spacing(np.max(np.abs(losses), axis=0))
    for arm in range(1, len(shifts)):
        found, right = losses[0] - losses[arm].astype(np.float64), exact[0] - exact[arm]
        assert np.all(np.abs(found - right) <= spacing + 1e-5 * np.abs(right))
    found, right = losses[0] - losses[1].astype(np.float64), exact[0] - exact[1]
    return np.sum(found * shifts[0]) / np.sum(right * shifts[0]) - 1


@pytest.mark.parametrize("kind", [RandomLength, EarlyEnd])
def test_sums_of_every_length(kind):
    """Three arms, of which the last stays where the parameters are, and a window beyond the end."""
    shifts, keys = draw_shifts(3, 30), jax.random.split(KEY, 30)
    for bases in (constant(100.0), oscillating(100.0)):
        engine = unspool.LocalEngine(kind(jnp.array(bases)), workers_at_once=8)
        taken, losses = unroll(engine, jnp.array(shifts), keys, 9973)
        assert set(taken[0].tolist()) == set(LENGTHS)
        assert abs(check(losses, bases, shifts, taken[0])) < 1e-3


@pytest.mark.parametrize("num_steps", [1, 128, 129, 1000, 9973])
def test_sums_where_the_length_is_known(num_steps):
    shifts, keys = draw_shifts(2, 30), jax.random.split(KEY, 30)
    for bases in (constant(100.0, num_steps), oscillating(100.0, num_steps)):
        problem = Losses(jnp.array(bases), num_steps)
        taken, losses = unroll(unspool.LocalEngine(problem), jnp.array(shifts), keys, num_steps)
        assert np.all(taken == num_steps)
        # One loss of 100 is held to 4 parts in 1000 of what two differ by.
        assert abs(check(losses, bases, shifts, taken[0])) < 1e-3


def test_a_running_sum_is_that_of_its_terms():
    """One by one and rounded, a hundred thousand tenths are 9998.6 or so."""
    add = lambda total, _: (total.add(0.1), None)
    total, _ = jax.lax.scan(add, rows.Sum.zero(), length=100_000)
    assert total.value == np.float32(100_000 * np.float64(np.float32(0.1)))


def test_a_sum_is_differentiated_as_any_other():
    """The derivative of each arm's sum is that of its own losses, and of no other arm's."""

    class Slopes(Losses):
        def step(self, params, state, t, *, key):
            return state + 1, self.bases[t] * params

    bases = np.arange(9973, dtype=np.float32) % 3
    engine = unspool.LocalEngine(Slopes(jnp.array(bases)))
    shifts, keys = jnp.array(draw_shifts(3, 2)), jax.random.split(KEY, 2)

    def sums(shifts):
        start = engine.start(jnp.array(1.0), keys, shifts)
        return jnp.sum(engine.unroll(jnp.array(1.0), start, 9973, shifts)[1], axis=1)

    reverse = jax.jit(jax.jacrev(sums))(shifts)
    forward = jax.jit(jax.jacfwd(sums))(shifts)
    expected = np.eye(3)[:, :, None] * np.full(2, bases.sum())
    assert np.array_equal(reverse, expected)
    np.testing.assert_allclose(forward, expected, atol=0.01)


def plain_sum(advance, row, num_steps, kind):
    """Losses added up one by one."""

    def one(carry, i):
        row, total = carry
        row, loss = advance(row, i)
        return (row, total + loss), None

    return jax.lax.scan(one, (row, jnp.zeros(())), jnp.arange(num_steps, dtype=kind))[0]


@pytest.mark.parametrize("sums", ["library", "plain"])
def test_the_gradient_of_a_long_episode_is_not_rounded_away(sums, monkeypatch):
    """Beside the same noise's gradient where there is nothing that the difference is lost in."""
    if sums == "plain":
        monkeypatch.setattr(local, "sum_losses", plain_sum)
    estimator, params = unspool.FullES(64, SIGMA), jnp.array(0.0)

    @eqx.filter_jit
    def gradient(problem):
        state = estimator.init(problem, params, key=KEY)
        return estimator.estimate(problem, params, state)[0].grad

    ideal, found = (gradient(Losses(jnp.array(constant(b)))) for b in (0.0, 100.0))
    assert (abs(found / ideal - 1) < 5e-3) == (sums == "library")
    assert (abs(found / ideal - 1) > 0.1) == (sums == "plain")


@pytest.mark.parametrize("base", [1.0, 100.0])
def test_evaluations_add_up_to_six_digits(base):
    bases = constant(base)
    found = unspool.evaluate(Losses(jnp.array(bases)), jnp.array(0.1), key=KEY)
    exact = np.mean(bases + np.float32(0.1), dtype=np.float64)
    np.testing.assert_allclose(found.loss, exact, rtol=1.5e-6)
    # One by one they would not.
    plain = np.add.accumulate(bases + np.float32(0.1))[-1] / 9973
    assert abs(plain / exact - 1) > 5e-6
