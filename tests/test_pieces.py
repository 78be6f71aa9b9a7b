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
from unspool import _pieces, _programs, problems
from unspool._estimator import base
from unspool._random import seeded_key

KEY = jax.random.key(0)
EIGHT = problems.LinearQuadratic(horizon=40, noise=0.5)
"""Of eight windows of five steps, of which seven warm up."""


class Bounds(list):
    """The bounds of pieces; `third` is set when so many have begun."""

    def __init__(self):
        self.third = threading.Event()

    def append(self, pair):
        super().append(pair)
        if len(self) == 3:
            self.third.set()


@pytest.fixture
def bounds(monkeypatch):
    """The bounds of the pieces, all warm-ups being long."""
    found = Bounds()

    def compile_program(*arguments, **options):
        program = _programs.compile_program(*arguments, **options)

        def run(carry, start, stop, *others):
            found.append((int(start), int(stop)))
            return program(carry, start, stop, *others)

        return run

    monkeypatch.setattr(_pieces, "compile_program", compile_program)
    monkeypatch.setattr(base, "_FEW_STEPS", 0)
    return found


def set_speed(monkeypatch, least_seconds):
    """Zero makes pieces of one window; with infinity each is twice as long as the one before."""
    monkeypatch.setattr(_pieces, "_LEAST_SECONDS", least_seconds)


def bits(tree):
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    leaves = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(tree)]
    return [np.asarray(x).tobytes() for x in leaves]


@pytest.mark.parametrize(
    "estimator", [unspool.PES(6, 5, 0.1), unspool.TBPTT(6, 5)], ids=["PES", "TBPTT"]
)
def test_pieces_change_no_bit(monkeypatch, bounds, estimator):
    params = EIGHT.init_params(key=KEY)
    whole = eqx.filter_jit(estimator.init)(EIGHT, params, key=KEY)
    assert bounds == []
    set_speed(monkeypatch, 0.0)
    by_one = estimator.init(EIGHT, params, key=KEY)
    assert bounds == [(i, i + 1) for i in range(7)]
    bounds.clear()
    set_speed(monkeypatch, float("inf"))
    growing = estimator.init(EIGHT, params, key=KEY)
    assert bounds == [(0, 1), (1, 3), (3, 7)]
    compiled = {}
    monkeypatch.setattr(_programs, "_COMPILED", compiled)
    monkeypatch.setattr(base, "_FEW_STEPS", 10**6)
    at_once = estimator.init(EIGHT, params, key=KEY)
    assert len(compiled) == 1
    assert bits(whole) == bits(by_one) == bits(growing) == bits(at_once)
    # What was run has left traces: other randomness, other bits.
    assert bits(whole) != bits(estimator.init(EIGHT, params, key=seeded_key(1)))
    assert len(np.unique(whole.trajectories.t)) == 6


def test_every_part_of_a_joint_engine_is_warmed_up(monkeypatch, bounds):
    engine = unspool.JointEngine([EIGHT, problems.LinearQuadratic(horizon=40)])
    estimator, params = unspool.PES(6, 5, 0.1), EIGHT.init_params(key=KEY)
    at_once = eqx.filter_jit(estimator.init)(engine, params, key=KEY)
    set_speed(monkeypatch, float("inf"))
    assert bits(estimator.init(engine, params, key=KEY)) == bits(at_once)
    assert bounds == 2 * [(0, 1), (1, 3), (3, 7)]


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


def test_ctrl_c_stops_a_warm_up(bounds, interruptible):
    """It is pressed in the middle of a piece, once there are some."""

    def press():
        bounds.third.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    job = Endless(), unspool.NRES(1, 2**15, 0.1), optax.sgd(0.1)
    with pytest.warns(UserWarning, match="problem steps will be run to spread the workers"):
        with pytest.raises(KeyboardInterrupt):
            unspool.train(*job, num_updates=1, key=KEY)
    thread.join()
    assert len(bounds) >= 3 and bounds[-1][1] < 2**15 - 1
