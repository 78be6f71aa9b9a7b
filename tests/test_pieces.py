"""Long warm-ups run in pieces: the same bits, and Ctrl-C in between."""

import os
import signal
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import _pieces, _programs, _updates, problems
from unspool._random import seeded_key

KEY = jax.random.key(0)
EIGHT = problems.LinearQuadratic(horizon=40, noise=0.5)
"""Of eight windows of five steps, of which seven warm up."""

TWO = unspool.JointProblem([EIGHT, problems.LinearQuadratic(horizon=40)])


class Sizes(list):
    """How many windows each piece has; `third` is set when so many have begun."""

    def __init__(self):
        self.third = threading.Event()

    def append(self, size):
        super().append(size)
        if len(self) == 3:
            self.third.set()


@pytest.fixture
def sizes(monkeypatch):
    """Of the pieces that are run."""
    found = Sizes()

    def run_in_pieces(advance, count, carry):
        def run(carry, size):
            found.append(size)
            return advance(carry, size)

        return _pieces.run_in_pieces(run, count, carry)

    monkeypatch.setattr(_updates, "run_in_pieces", run_in_pieces)
    return found


def set_speed(monkeypatch, least_seconds):
    """Zero makes pieces of one window; with infinity each is twice as long as the one before."""
    monkeypatch.setattr(_pieces, "_LEAST_SECONDS", least_seconds)


def numbers(tree):
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    leaves = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(tree)]
    return [np.asarray(x) for x in leaves]


def bits(tree):
    return [x.tobytes() for x in numbers(tree)]


def first_state(engine, estimator, key=KEY):
    """After one update, from parameters that do not depend on the key."""
    params = EIGHT.init_params(key=KEY)
    job = engine, estimator, optax.sgd(0.1)
    return next(unspool.train(*job, num_updates=1, params=params, key=key)).state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "estimator"),
    [
        pytest.param(EIGHT, unspool.PES(6, 5, 0.1), id="PES"),
        pytest.param(EIGHT, unspool.TBPTT(6, 5), id="TBPTT"),
        pytest.param(TWO, unspool.PES(6, 5, 0.1), id="several problems"),
    ],
)
def test_pieces_change_no_bit(monkeypatch, sizes, engine, estimator):
    monkeypatch.setattr(_programs, "_COMPILED", compiled := {})
    set_speed(monkeypatch, 0.0)
    by_one = bits(first_state(engine, estimator))
    assert sizes == 7 * [1]
    sizes.clear()
    set_speed(monkeypatch, float("inf"))
    growing = first_state(engine, estimator)
    assert sizes == [1, 2, 4]
    # What warms up is what makes updates: beside it there is what makes workers.
    assert len(compiled) == 2
    init, step = unspool.make_step(engine, estimator, optax.sgd(0.1))
    by_hand, _ = step(init(EIGHT.init_params(key=KEY), key=KEY))
    assert by_one == bits(growing)
    # Another program, which a compiler may round in another way.
    for found, expected in zip(numbers(growing), numbers(by_hand), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # What was run has left traces: other randomness, other bits.
    assert by_one != bits(first_state(engine, estimator, seeded_key(1)))
    for part in growing.workers:
        assert part.update == 1
        assert len(np.unique(part.trajectories.clock.t)) == 6


def test_to_spread_workers_by_hand_needs_one_program_more_than_estimates(monkeypatch):
    estimator, params = unspool.PES(6, 5, 0.1), EIGHT.init_params(key=KEY)
    within = eqx.filter_jit(estimator.init)(EIGHT, params, key=KEY)
    monkeypatch.setattr(_programs, "_KNOWN", {})
    monkeypatch.setattr(_programs, "_COMPILED", compiled := {})
    state = estimator.init(EIGHT, params, key=KEY)
    assert bits(state) == bits(within)
    estimator.estimate(EIGHT, params, state)
    assert len(compiled) == 2


def test_a_worker_does_nothing_until_it_is_due():
    """Of the seven windows it runs the last ones, as many as its phase says; then all go on."""
    estimator, params = unspool.NRES(4, 5, 0.1), EIGHT.init_params(key=KEY)
    state = estimator.init_workers(EIGHT, params, KEY)
    phase, episodes = 7 + np.asarray(state[0].trajectories.clock.t) // 5, np.arange(4)
    assert state[0].update == -7 and len(np.unique(phase)) == 4
    for number in range(1, 10):
        estimate, state = estimator.estimate(EIGHT, params, state)
        ran = np.maximum(phase + number - 7, 0)
        np.testing.assert_array_equal(
            state[0].each.episode, episodes + 4 * (ran > 0) + 4 * (ran > 8)
        )
        np.testing.assert_array_equal(
            state[0].trajectories.arms.taken[0], np.where(ran > 8, ran - 8, ran) * 5
        )
        assert estimate.stats["useful_steps"] == 10 * np.sum(ran > 0)
        assert state[0].update == number - 7


class Endless(unspool.AbstractProblem):
    """As good as endless: to warm up takes some 2**31 steps."""

    horizon: int = 2**30

    def init_params(self, *, key):
        return jnp.zeros(())

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, params


@pytest.fixture
def interruptible():
    """Ctrl-C does here what it does in a program; some test runners ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_a_warm_up(sizes, interruptible):
    """It is pressed in the middle of a piece, once there are some."""

    def press():
        sizes.third.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    job = Endless(), unspool.NRES(1, 2**15, 0.1), optax.sgd(0.1)
    with pytest.warns(UserWarning, match="problem steps will be run to spread the workers"):
        with pytest.raises(KeyboardInterrupt):
            unspool.train(*job, num_updates=1, key=KEY)
    thread.join()
    assert len(sizes) >= 3 and sum(sizes) < 2**15 - 1


class Counted(unspool.AbstractProblem):
    """Notes every step that is run."""

    steps: list = eqx.field(static=True)
    horizon: int = 8

    def init_params(self, *, key):
        return jnp.zeros(())

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        jax.debug.callback(self.steps.append, t)
        return state, params


@pytest.mark.parametrize("at_once", [2, 8])
def test_only_workers_that_are_due_run_while_they_are_spread(at_once):
    steps = []
    engine = unspool.LocalEngine(Counted(steps), workers_at_once=at_once)
    estimator = unspool.NRES(8, 2, 1.0)
    estimator.init(engine, jnp.zeros(()), key=KEY)
    jax.effects_barrier()
    windows = 4 * 3 if at_once == 2 else 8 * 3
    # Blocks of two are those of one phase; one block of all has somebody due in every window. Both
    # arms of a worker have the same clock, and one note.
    assert len(steps) == 2 * windows
