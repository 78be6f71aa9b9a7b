"""Steps past the end of an episode feed nothing into any derivative, whatever they compute."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import _rows as rows
from unspool import extend, problems
from unspool._engine import Arms
from unspool._estimator.perturbation import Perturbation
from unspool._reference import sample_gradients
from unspool._target import Target

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
PARAMS = {"rate": 0.28, "start": 1.0, "root": 4.0}
SIGMA = 1e-4


class Tank(unspool.AbstractProblem):
    """Is empty from the start, runs empty in the third step, or is left in time after the fourth.

    Of an empty tank no derivative exists: not that of its level, with respect to the state or to
    what it started from. From the fifth step on that of the loss with respect to `root` does not
    exist either.
    """

    horizon: int = 6

    def init_params(self, *, key):
        return jax.tree.map(jnp.array, PARAMS)

    def init_state(self, params, *, key):
        filled = draw_filling(key)
        level = jnp.sqrt(params["start"] * filled)
        return {"level": level, "flow": jnp.array(0.0), "count": jnp.array(0.0)}

    def step(self, params, state, t, *, key):
        flow = 0.5 * state["flow"] + jnp.sqrt(state["level"])
        level = jnp.maximum(state["level"] - params["rate"], 0.0)
        loss = flow**2 + jnp.sqrt(params["root"] - state["count"])
        return {"level": level, "flow": flow, "count": state["count"] + 1}, loss

    @property
    def episodes(self):
        return unspool.Episodes(
            is_done=lambda state: state["level"] <= 0, draw_length=lambda *, key: jnp.array(4)
        )


FILLINGS = {0.0: 0, 0.5: 3, 9.0: 4}
"""How many steps there are."""


def draw_filling(key):
    return jax.random.choice(key, jnp.array([*FILLINGS]))


class Countdown(unspool.AbstractProblem):
    """Has four steps. The derivative of a fifth exists neither in the state nor in `root`.

    In segments of three steps an episode has two, of which the second is frozen after one step.
    """

    horizon: int = 7

    def init_params(self, *, key):
        return jax.tree.map(jnp.array, PARAMS)

    def init_state(self, params, *, key):
        zero = jnp.array(0.0)
        return {"level": params["start"], "left": jnp.array(4.0), "count": zero, "x": zero}

    def step(self, params, state, t, *, key):
        x = 0.5 * state["x"] + params["rate"] * jnp.sqrt(state["left"] * state["level"])
        level = state["level"] * jnp.sqrt(params["root"] - state["count"])
        after = {"left": state["left"] - 1, "count": state["count"] + 1}
        return after | {"level": level, "x": x}, x**2 + level

    @property
    def episodes(self):
        return unspool.Episodes(draw_length=lambda *, key: jnp.array(4))


class Short(Countdown):
    """The like where it is the last window that is short, and no length is drawn."""

    horizon: int = 4

    @property
    def episodes(self):
        return unspool.Episodes()


def total_loss(problem, params, state, num_steps, window=None):
    """The loss of an episode step by step; states that come into a window are constant."""
    total = 0.0
    for t in range(num_steps):
        if window and t and t % window == 0:
            state = jax.lax.stop_gradient(state)
        state, loss = problem.step(params, state, t, key=KEY)
        total += loss
    return total


@ft.cache
def exact(kind, window=None):
    """The mean gradient of the total loss of an episode."""
    problem, params = kind(), jax.tree.map(jnp.array, PARAMS)
    if kind is not Tank:
        begin = lambda params: problem.init_state(params, key=KEY)
        total = lambda params: total_loss(problem, params, begin(params), 4, window)
        return as_array(jax.jit(jax.grad(total))(params))

    def total(params, filling, num_steps):
        level, zero = jnp.sqrt(params["start"] * filling), jnp.array(0.0)
        state = {"level": level, "flow": zero, "count": zero}
        return total_loss(problem, params, state, num_steps)

    grads = [jax.grad(total)(params, *kind) for kind in FILLINGS.items() if kind[1]]
    return sum(map(as_array, grads)) / len(FILLINGS)


def as_array(grad):
    return np.stack([np.asarray(x) for x in jax.tree.leaves(grad)], axis=-1)


def run(engine, estimator, num_updates, num_chains):
    """The mean of so many estimates in each of many chains, the workers dropped, useful steps."""
    params = jax.tree.map(jnp.array, PARAMS)

    @jax.jit
    def run_all(keys):
        def update(state, _):
            estimate, state = estimator.estimate(engine, params, state)
            return state, (estimate.grad, estimate.stats["dropped"], estimate.stats["useful_steps"])

        def one(key):
            state = estimator.init(engine, params, key=key)
            _, (grad, dropped, useful) = jax.lax.scan(update, state, length=num_updates)
            return jax.tree.map(lambda x: jnp.mean(x, axis=0), grad), jnp.sum(dropped), useful

        return jax.lax.map(one, keys)

    grads, dropped, useful = run_all(jax.random.split(KEY, num_chains))
    return as_array(grads), int(np.sum(dropped)), np.asarray(useful)


def check_mean(grads, right, most_error):
    """Mean of independent chains against the right one; `most_error` bounds the standard error."""
    error = np.std(grads, axis=0, ddof=1) / len(grads) ** 0.5
    scale = np.linalg.norm(right)
    assert np.all(error < most_error * scale), (error, right)
    assert np.all(abs(np.mean(grads, axis=0) - right) < 4.5 * error + 1e-6 * scale), (
        np.mean(grads, axis=0),
        error,
        right,
    )


# Each window holds an episode of the tank whole. Some are above the horizon, the others do not
# divide it.
TANK = {
    "BPTT": unspool.BPTT(8),
    "RTRL": unspool.RTRL(8, 4),
    "DODGE": unspool.DODGE(32, 5),
    "ControlledGPES": unspool.ControlledGPES(16, 8, 2, SIGMA),
    "TruncatedES": unspool.TruncatedES(32, 9, SIGMA),
}


@pytest.mark.parametrize(
    "name", [slow(name, when=name in {"DODGE", "RTRL", "TruncatedES"}) for name in TANK]
)
def test_episodes_that_end_early_or_in_time_or_at_once(name):
    estimator = TANK[name]
    grads, dropped, useful = run(Tank(), estimator, 2, 50)
    assert dropped == 0
    check_mean(grads, estimator.plan(6).num_windows / 6 * exact(Tank), 0.06)
    # All arms together; their steps are 0, 3 or 4, with a standard deviation of 1.7.
    num_steps = np.sum(useful) / (100 * estimator.plan(6).num_rows)
    assert abs(num_steps - 7 / 3) < 4.5 * 1.7 / (100 * estimator.num_workers) ** 0.5


@pytest.mark.parametrize("done", [slow(0), 1, 2])
def test_a_guess_is_zero_where_its_own_arm_is_done(done):
    """And there alone: the pair's ends depend on the noise, of which a guess must not know."""
    engine, probe = unspool.LocalEngine(problems.Cubic(horizon=4)), extend.ControlledAntithetic()
    params = engine.init_params(key=KEY)
    along = jax.tree.map(lambda x: jnp.full((1, 1, *jnp.shape(x)), 0.1), params)
    noise = Perturbation(along, along, along, jax.tree.map(jnp.negative, along))
    begun = probe.start(engine, params, jax.random.split(KEY, 1), noise)
    places = lambda x: x.trajectories.arms.done
    ended = eqx.tree_at(places, begun, jnp.arange(3)[:, None] == done)
    _, found = probe.unroll(engine, params, ended, 2, noise)
    _, whole = probe.unroll(engine, params, begun, 2, noise)
    expected = whole.guess if done != 2 else rows.zeros_like(whole.guess)
    assert all(x != 0 for x in jax.tree.leaves(whole.guess))
    jax.tree.map(np.testing.assert_array_equal, found.guess, expected)


# An episode has two windows of three steps.
COUNTDOWN = {
    "RTRL in chunks": (Short, unspool.Chunked(unspool.RTRL(3, 3), 2)),
    "TBPTT": (Short, unspool.TBPTT(3, 3)),
    "UORO": (Countdown, unspool.UORO(64, 3)),
    "LowRankUORO": (Countdown, unspool.LowRankUORO(64, 3)),
    "ForwardGradient": (Countdown, unspool.ForwardGradient(64, 3)),
    "PESAnalytic": (Countdown, unspool.PESAnalytic(32, 3, SIGMA)),
}


@pytest.mark.parametrize(
    "name",
    [slow(name, when=name not in {"UORO", "PESAnalytic"}) for name in COUNTDOWN],
)
def test_windows_that_are_frozen_for_a_part(name):
    kind, estimator = COUNTDOWN[name]
    is_exact = isinstance(estimator, (unspool.TBPTT, unspool.RTRL, unspool.Chunked))
    grads, dropped, _ = run(kind(), estimator, 2, 2 if is_exact else 40)
    assert dropped == 0
    window = 3 if isinstance(estimator, (unspool.TBPTT, unspool.ForwardGradient)) else None
    # Two windows are an episode, and a mean of two estimates has each of them once.
    right = estimator.plan(kind.horizon).num_windows / kind.horizon * exact(kind, window) / 2
    if is_exact:
        np.testing.assert_allclose(grads, np.stack([right] * 2), rtol=1e-9)
    else:
        check_mean(grads, right, 0.06)


class Masked(unspool.LocalEngine):
    """Freezes a row after each step, and not before it: the step beyond the end is the next one."""

    def _unroll_until_done(self, step, arm, clock, num_steps):
        def advance(arm, _):
            state, loss = step(arm.state, arm.taken)
            loss = jnp.where(arm.done, jnp.zeros_like(loss), loss)
            taken = arm.taken + 1
            return rows.select(arm.done, arm, Arms(state, taken >= clock.length, taken)), loss

        arm, losses = jax.lax.scan(advance, arm, length=num_steps)
        return arm, jnp.sum(losses)


def test_a_mask_after_each_step_is_found_out():
    grads, dropped, _ = run(Masked(Short()), unspool.TBPTT(3, 3), 2, 2)
    assert dropped > 0 or not np.all(np.isfinite(grads))


# --- Arms that end at different times. ---


class Fuel(unspool.AbstractProblem):
    """The loss is the root of what fuel there was; a third of it is used in each step, or so."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.array(1 / 3)

    def init_state(self, params, *, key):
        return jnp.array(1.0)

    def step(self, params, state, t, *, key):
        return jnp.maximum(state - params, 0.0), jnp.sqrt(state)

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: state <= 0)


def smoothed_gradient(center, sigma):
    """The derivative of the expected total loss, by the trapezoidal rule."""
    z = np.linspace(-8, 8, 200_001)
    at = lambda p: sum(np.sqrt(np.maximum(1 - k * p, 0)) for k in range(6))
    slope = (at(center + sigma * z) - at(center - sigma * z)) / 2
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.sum(slope * z / sigma * density) * (z[1] - z[0])


ARMS = {
    "ControlledGPES": (unspool.ControlledGPES(64, 6, 6, 0.01), 0.3),
    "ControlledGPES, other ends": (unspool.ControlledGPES(64, 6, 6, 0.02), 0.32),
    "TruncatedES, other ends": (unspool.TruncatedES(64, 7, 0.02), 1 / 3),
}


@pytest.mark.parametrize("name", ARMS)
def test_arms_that_end_at_different_times(name):
    """Where the last drop is used up by one of the arms only, smoothing is what matters."""
    estimator, center = ARMS[name]
    sigma = float(estimator.sigma)

    @jax.jit
    def run_all(params, key):
        def update(state, _):
            estimate, state = estimator.estimate(Fuel(), params, state)
            return state, (6 * estimate.grad, estimate.stats["dropped"])

        return jax.lax.scan(update, estimator.init(Fuel(), params, key=key), length=100)[1]

    grads, dropped = run_all(jnp.array(center), KEY)
    right = smoothed_gradient(center, sigma)
    assert not np.any(dropped)
    check_mean(np.asarray(grads)[:, None], np.array([right]), 0.03)
    # A quadrature that knew of no end, or of one end for both arms, would be far off.
    assert name != "ControlledGPES" or abs(right / -7.139 - 1) < 1e-3


# --- The reference. ---


@pytest.mark.parametrize("kind", [Tank, Countdown])
@pytest.mark.parametrize("sigma", [0.0, SIGMA])
def test_the_reference_differentiates_no_frozen_step(kind, sigma):
    problem = kind()
    params = jax.tree.map(jnp.array, PARAMS)
    grads = sample_gradients(problem, params, Target(None, None, sigma), key=KEY, num_samples=8000)
    grads = as_array(grads)
    right = exact(kind) / problem.horizon
    if kind is Countdown and not sigma:
        np.testing.assert_allclose(grads, np.broadcast_to(right, grads.shape), rtol=1e-9)
    else:
        check_mean(grads, right, 0.06)
