"""Rows and simulators on the host that fail cost their worker alone, and steps are counted."""

import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.host import ESTIMATORS, Batched, Level, OnHost, Simulated, last_record
from unspool._engine.returned import MisuseError
from unspool._engine.segment import Segment
from unspool._engine.simulators import SimulatorRunner


def test_a_row_that_fails_costs_its_worker_alone():
    engine, estimator = unspool.HostEngine(OnHost(fails_at=4)), unspool.NRES(6, 3, 0.1)
    params = engine.init_params(key=jax.random.key(0))
    state, dropped = estimator.init(engine, params, key=jax.random.key(3)), []
    for _ in range(8):
        estimate, state = estimator.estimate(engine, params, state)
        dropped.append(int(estimate.stats["dropped"]))
    # Of a pair one arm is above: every worker fails in its second window, and then begins anew.
    assert [sum(pair) for pair in itertools.pairwise(dropped)] == 7 * [6]
    assert 0 < min(dropped)
    record = last_record(engine, estimator, throw=False)
    assert record.result == unspool.RESULTS.dropped_workers and record.dropped > 0
    assert "ArithmeticError: this one is above" in engine.failures[-1]
    assert np.all(np.isfinite(record.params["a"]))


def test_one_failing_row_leaves_the_others_as_they_were():
    """Rows that share a call with one that fails get the same numbers as without it."""
    params = {"a": jnp.array([0.5, 0.2]), "b": jnp.array(0.65)}
    keys = jax.random.split(jax.random.key(0), 3)
    shift = {"a": jnp.zeros((1, 3, 2)), "b": jnp.array([[0.0, 0.1, 0.01]])}
    losses = []
    for fails_at in (-1, 4):
        engine = unspool.HostEngine(OnHost(fails_at=fails_at))
        trajectories = engine.start(params, keys, shift)
        losses.append(engine.unroll(params, trajectories, 4, shift)[1])
        losses.append(engine.unroll(params, trajectories, 8, shift)[1])
    for undisturbed, disturbed in zip(losses[:2], losses[2:], strict=True):
        np.testing.assert_array_equal(undisturbed[0, ::2], disturbed[0, ::2])
    assert np.isfinite(losses[2][0, 1]) and np.isnan(losses[3][0, 1])


def test_a_failing_simulator_is_thrown_away_and_the_others_are_used_again():
    before = Level.made
    engine = unspool.HostEngine(Simulated(fails_at=4))
    record = last_record(engine, unspool.NRES(6, 3, 0.3), num_updates=40, log_every=40)
    made = Level.made - before
    assert 0 < record.dropped < 40
    assert "too high" in engine.failures[-1]
    # The other arm's simulator is sound, and waits for the next episode.
    assert 12 < made <= 12 + engine.executor.failures.count


def test_rows_that_are_over_are_not_started():
    started = []

    class Noted(OnHost):
        def init_state(self, params, *, seeds):
            started.append(len(seeds))
            return super().init_state(params, seeds=seeds)

    engine = unspool.HostEngine(Noted())
    params = engine.init_params(key=jax.random.key(0))
    rows = engine.start(params, jax.random.split(jax.random.key(1), 3))
    waiting = eqx.tree_at(lambda rows: rows.arms.done, rows, jnp.array([[True, False, True]]))
    started.clear()
    _, losses = engine.unroll(params, waiting, 2)
    assert losses[0, 1] > 0 and losses[0, 0] == losses[0, 2] == 0 and started == [1]


def begin(params, first_seed, worker):
    """Rows before their first step, which are to take two."""
    index = np.arange(len(params))
    seeds = np.uint64(first_seed) + index.astype(np.uint64)
    steps = np.zeros((len(params), 2), np.uint64)
    return Segment(np.array(params), index, index < 0, 0 * index, seeds, steps, index, worker)


def test_a_mistake_leaves_no_simulator_behind():
    class Wrong(Simulated):
        def step(self, simulator, action):
            return "a loss"

    simulators = SimulatorRunner(Wrong())
    for first_seed in (0, 3):
        with pytest.raises(MisuseError, match="a loss"):
            simulators.advance(begin([[1.0, 1.0]] * 3, first_seed, np.arange(3)))
    assert not simulators.busy and not simulators.idle


def test_a_worker_that_fails_needs_its_other_simulator_no_more():
    simulators, before = SimulatorRunner(Simulated(fails_at=1)), Level.made
    rows = begin([[4.0, 0.0], [1.0, 0.0], [1.0, 0.0]], 0, np.array([0, 0, 1]))
    outcome = simulators.advance(rows)
    assert np.isnan(outcome.losses).tolist() == [True, False, False]
    assert Level.made == before + 3
    assert len(simulators.idle) == len(simulators.busy) == 1


def test_training_that_cannot_go_on_shows_the_traceback():
    with pytest.raises(unspool.TrainingError, match="ArithmeticError: no action"):
        last_record(Simulated(actions_fail=True), ESTIMATORS["NRES"])


def test_two_trainings_that_share_simulators_do_not_mix():
    """Both begin the same episodes: the first has lost its own, and begins others."""
    engine = unspool.HostEngine(Simulated())
    start = lambda: unspool.train(
        engine, ESTIMATORS["NRES"], optax.sgd(0.01), num_updates=4, key=jax.random.key(3),
        log_every=1,
    )  # fmt: skip
    first, second = start(), start()
    next(first)
    next(second)
    assert sum(record.dropped for record in first) > 0
    assert any("another training with the same key" in text for text in engine.failures)


@dataclasses.dataclass(frozen=True)
class LosesSight(Batched):
    """Cannot tell of high levels whether they are over."""

    @property
    def episodes(self):
        return unspool.Episodes(is_done=self._look)

    def _look(self, state):
        if np.any(state[:, 0] > 0.9):
            raise ArithmeticError("sensor lost")
        return super().episodes.is_done(state)


@dataclasses.dataclass(frozen=True)
class LosesHead(Simulated):
    """Does not know what to do at high levels."""

    def actions(self, simulators, params, t):
        if any(simulator.level > 0.9 for simulator in simulators):
            raise ArithmeticError("sensor lost")
        return super().actions(simulators, params, t)


@pytest.mark.parametrize("problem", [LosesSight(), LosesHead()], ids=lambda p: type(p).__name__)
def test_an_exception_in_another_method_costs_its_row_alone(problem):
    """And steps are counted as far as they have been run."""
    params = jnp.array([0.2, 0.0])
    shift = jnp.array([[[0.0, 0.0], [0.2, 0.0], [0.1, 0.0]]])
    keys = jax.random.split(jax.random.key(0), 3)
    engine, sound = unspool.HostEngine(problem), unspool.HostEngine(Batched())
    losses = engine.unroll(params, engine.start(params, keys, shift), 12, shift)[1]
    others = sound.unroll(params, sound.start(params, keys, shift), 12, shift)[1]
    np.testing.assert_array_equal(np.isnan(losses[0]), [False, True, True])
    np.testing.assert_array_equal(losses[0, 0], others[0, 0])
    assert len(engine.failures) == 2 and "ArithmeticError: sensor lost" in engine.failures[-1]


def taken(engine, params, shift, windows):
    """The steps that rows have run in each window, and the rows' losses."""
    found, kept = [], engine.executor.advance

    def keep(segment):
        outcome = kept(segment)
        found.append(outcome.taken)
        return outcome

    engine.executor.advance = keep
    trajectories = engine.start(params, jax.random.split(jax.random.key(0), shift.shape[1]), shift)
    for num_steps in windows:
        trajectories, _ = engine.unroll(params, trajectories, num_steps, shift)
    return np.array(found)


@pytest.mark.parametrize("kind", [LosesSight, LosesHead])
def test_steps_are_counted(kind):
    """Levels rise for four steps and sink by 0.3 in each one after.

    Two rows end at 0 or below. One is above 0.9 after four steps, one after two: both have taken
    the step after which `is_done` was asked, and not the one for which there was no action.
    """
    shift = jnp.array([[[0.1, 0.0], [0.2, 0.0], [0.28, 0.08], [0.7, 0.0]]])
    found = taken(unspool.HostEngine(kind()), jnp.zeros(2), shift, [15])
    np.testing.assert_array_equal(found, [[6, 7, 4, 2]])
    found = taken(unspool.HostEngine(kind()), jnp.zeros(2), shift[:, :2], [3, 3, 3, 6])
    np.testing.assert_array_equal(found, [[3, 3], [3, 3], [0, 1], [0, 0]])
    # The horizon comes before the end of a window.
    still = kind(drain=0.0)
    found = taken(unspool.HostEngine(still), jnp.zeros(2), shift[:, :2], [5, 5, 5])
    np.testing.assert_array_equal(found, [[5, 5], [5, 5], [2, 2]])
