"""Workers that fail by chance: who is left speaks for all, and no mean moves."""

import dataclasses
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.failures import KEY, LOADINGS, NUM_WINDOWS, WINDOW, Fated, draw_fate
from support.slow import slow
from unspool._estimator.survival import Survival
from unspool._random import Purpose, part_keys, stream

pytestmark = pytest.mark.usefixtures("float64")

HAZARDS = {
    "none": [0.0, 0.0, 0.0, 0.0],
    "rare": [0.05, 0.05, 0.05, 0.05],
    "common": [0.3, 0.3, 0.3, 0.3],
    "every other": [0.5, 0.5, 0.5, 0.5],
    "in the last window": [0.0, 0.0, 0.0, 0.6],
    "in the first window": [0.7, 0.0, 0.0, 0.0],
}


class Restarting(Fated):
    """Could end early, and never does: a worker that fails does not wait."""

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: jnp.array(False))


@dataclasses.dataclass(frozen=True)
class OnHost(unspool.AbstractHostProblem):
    """The same in NumPy, where a failure is an exception."""

    hazards: tuple[float, ...]
    horizon: int = WINDOW * NUM_WINDOWS

    def init_params(self, *, key):
        return jnp.full(4, 0.5)

    def init_state(self, params, *, seeds):
        words = (seeds & np.uint64(2**32 - 1)).astype(np.uint32)
        return {"x": np.zeros((len(seeds), 4)), "fate": np.stack([draw_fate(w) for w in words])}

    def step(self, params, state, t, *, seeds):
        window, row = t // WINDOW, np.arange(len(t))
        if np.any(state["fate"][row, window] < np.array(self.hazards)[window]):
            raise ArithmeticError("fate")
        x = 0.5 * state["x"] + params
        return state | {"x": x}, np.sum(LOADINGS[window] * x, axis=1)


@dataclasses.dataclass(frozen=True)
class Simulated(unspool.AbstractSimulatorProblem):
    """The same by way of simulators, which may end at any time, and so restart at once."""

    hazards: tuple[float, ...]
    horizon: int = WINDOW * NUM_WINDOWS

    def init_params(self, *, key):
        return jnp.full(4, 0.5)

    def make(self):
        return {}

    def reset(self, simulator, params, *, seed):
        fate = draw_fate(np.uint32(int(seed) & (2**32 - 1)))
        simulator |= {"x": np.zeros(4), "fate": fate, "t": 0}

    def step(self, simulator, action):
        window = simulator["t"] // WINDOW
        if simulator["fate"][window] < self.hazards[window]:
            raise ArithmeticError("fate")
        x = 0.5 * simulator["x"] + action
        simulator |= {"x": x, "t": simulator["t"] + 1}
        return float(LOADINGS[window] @ x), False


def right_gradient(window=None):
    """Of the mean loss per step; with a window, of what each window's own steps contribute."""
    total = np.zeros(4)
    for k in range(NUM_WINDOWS):
        for step in range(WINDOW):
            steps_behind = (step if window else k * WINDOW + step) + 1
            total += LOADINGS[k] * sum(0.5**i for i in range(steps_behind))
    return total / (WINDOW * NUM_WINDOWS)


def estimates(estimator, num_updates, burn_in=0):
    """A program that makes so many estimates of an engine, and returns them and the last state."""

    @eqx.filter_jit
    def run(engine):
        params = jnp.full(4, 0.5)

        def update(state, _):
            estimate, state = estimator.estimate(engine, params, state)
            return state, (estimate.grad, estimate.stats)

        state = estimator.init(engine, params, key=KEY)
        state, history = jax.lax.scan(update, state, length=burn_in + num_updates)
        return *jax.tree.map(lambda x: x[burn_in:], history), state

    return run


def errors(grads, right, num_batches=10):
    """How many standard errors the mean is off, and the largest of these as a share.

    Estimates have weights in common for about 140 updates.
    """
    batches = np.asarray(grads).reshape(num_batches, -1, grads.shape[-1]).mean(axis=1)
    error = batches.std(axis=0, ddof=1) / num_batches**0.5
    return np.abs(batches.mean(axis=0) - right) / error, np.max(error) / np.max(np.abs(right))


# So many updates, and the largest standard error; the weights' own noise dies out with 10 batches.
LONG = {
    "TBPTT": (unspool.TBPTT(200, WINDOW), 300, ["every other"], 0.03),
    "RTRL": (unspool.RTRL(200, WINDOW), 2000, [*HAZARDS][1:], 0.006),
    "RTRL, few workers": (unspool.RTRL(32, WINDOW), 1200, ["in the last window"], 0.006),
    "PES": (unspool.PES(200, WINDOW, 0.1), 800, ["every other"], 0.04),
}


@pytest.mark.parametrize("name", [slow(name, when=name.startswith("RTRL")) for name in LONG])
def test_failures_by_chance_move_no_mean(name):
    estimator, num_updates, kinds, most_error = LONG[name]
    run = estimates(estimator, num_updates, burn_in=100)
    right = right_gradient(WINDOW if name == "TBPTT" else None)
    for kind in kinds:
        grads, stats, state = run(Fated(jnp.array(HAZARDS[kind])))
        off, error = errors(grads, right)
        assert error < most_error, (kind, error)
        assert np.all(off < 5.5), (kind, off, error)
        # Student's t of nine degrees of freedom is beyond 5.5 once in 2600 times.
        survival = np.cumprod([1.0, *(1 - np.array(HAZARDS[kind]))])
        np.testing.assert_allclose(1 / state[0].survival.weight, survival, rtol=0.25)
        attempted = estimator.num_workers * num_updates - np.sum(stats["waiting"])
        failed = np.sum(stats["dropped"]) / attempted
        steady = np.sum(survival[:-1] - survival[1:]) / np.sum(survival[:-1])
        assert abs(failed / steady - 1) < 0.04


@pytest.mark.parametrize("num_workers", [2, 4, 5])
def test_one_update_is_right_to_second_order_in_the_number_of_workers(num_workers):
    """By all that may happen to workers of two windows, as many in each, whose rates are known."""
    rates = np.array([0.1, 0.3])
    reached = np.concatenate([[1.0], np.cumprod(1 - rates)])
    attempted = 1000 * reached[:-1]
    survival = Survival(*map(jnp.asarray, (attempted, attempted * rates, 1 / reached)))
    window = np.arange(2 * num_workers) % 2
    weight, gain = (np.asarray(x) for x in survival.weigh(jnp.asarray(window), window.size, False))
    # Whether a worker gets to its window, whether it comes through, and how often it does that.
    fates = [
        [(True, True, reached[1]), (True, False, rates[0])],
        [(False, False, rates[0]), (True, True, reached[2]), (True, False, reached[1] * rates[1])],
    ]
    mean = {"weighed": np.zeros(2), "to first order": np.zeros(2)}
    for each in itertools.product(*(fates[k] for k in window)):
        ran, healthy, chance = map(np.array, zip(*each, strict=True))
        if np.any(healthy):
            scale = np.prod(chance) * np.sum(ran) / np.sum(gain, where=healthy) / num_workers
            for name, weights in zip(mean, (weight, 1 / reached[window + 1]), strict=True):
                mean[name] += scale * np.bincount(window, weights * healthy)
    off = {name: np.max(np.abs(found - 1)) for name, found in mean.items()}
    assert off["weighed"] < 0.085 / num_workers**2 and off["to first order"] > 0.09 / num_workers


@pytest.mark.parametrize(("num_workers", "memory"), [(4, 2 * 500), (200, 2 * 32)])
def test_what_was_counted_fades(num_workers, memory):
    """With a memory of 2000 episodes, and of 32 of each worker at least."""
    survival = Survival(jnp.full(2, 1e6), jnp.full(2, 1e5), jnp.full(3, 1.2))
    window, failed = jnp.arange(num_workers) % 2, jnp.arange(num_workers) < 2
    after = survival.observe(window, jnp.ones((1, num_workers), bool), failed[None])
    fade = 1 - 1 / memory
    np.testing.assert_allclose(after.attempted, fade * 1e6 + num_workers / 2, rtol=1e-12)
    np.testing.assert_allclose(after.failed, fade * 1e5 + 1, rtol=1e-12)


def test_updates_in_which_nothing_fails_are_counted_once():
    *_, state = estimates(unspool.TBPTT(8, WINDOW), 5)(Fated(jnp.array(HAZARDS["none"])))
    known = state[0].survival.after_even_updates(state[0].update, 8)
    # Before the first update a quarter came through the first window, another through two of them.
    expected = 8 / NUM_WINDOWS * (5 + np.arange(NUM_WINDOWS)[::-1])
    np.testing.assert_allclose(known.attempted, expected, rtol=1e-3)


def test_where_workers_restart_at_once_only_the_length_of_the_gradient_changes():
    """Windows are then reached as often as episodes survive, and weigh what makes up for it."""
    run = estimates(unspool.RTRL(200, WINDOW), 1200, burn_in=100)
    for kind in ("common", "every other"):
        grads, _, _ = run(Restarting(jnp.array(HAZARDS[kind])))
        survival = np.cumprod([1.0, *(1 - np.array(HAZARDS[kind]))])
        off, error = errors(grads, right_gradient() * 4 / np.sum(survival[:-1]))
        assert error < 0.008 and np.all(off < 5.5), (kind, off, error)


def weigh_nothing(patch):
    """Healthy workers count alike, however few have come to where they are."""
    observe = Survival.observe

    def unweighted(self, *arguments):
        found = observe(self, *arguments)
        return eqx.tree_at(lambda s: s.weight, found, jnp.ones_like(found.weight))

    patch.setattr(Survival, "observe", unweighted)


def test_the_mean_of_those_that_are_left_would_be_found_out(monkeypatch):
    weigh_nothing(monkeypatch)
    run = estimates(unspool.RTRL(200, WINDOW), 500, burn_in=100)
    off, error = errors(run(Fated(jnp.array(HAZARDS["common"])))[0], right_gradient())
    assert error < 0.006 and np.all(off > 20)
    off, error = errors(run(Fated(jnp.array(HAZARDS["rare"])))[0], right_gradient())
    assert error < 0.006 and np.max(off) > 8


def test_parts_of_a_joint_problem_keep_their_weight_however_often_one_fails():
    problems = [Fated(jnp.array(HAZARDS[kind])) for kind in ("none", "every other")]
    run = estimates(unspool.RTRL(200, WINDOW), 1000, burn_in=100)
    grads, _, _ = run(unspool.JointProblem(problems))
    off, error = errors(grads, right_gradient())
    assert error < 0.004 and np.all(off < 5.5)


@pytest.mark.parametrize(("host", "in_jax"), [slow(OnHost, Fated), (Simulated, Restarting)])
def test_failures_on_the_host_count_as_those_in_jax(host, in_jax):
    estimator, hazards = unspool.PES(24, WINDOW, 0.1), HAZARDS["every other"]
    run = estimates(estimator, 30)
    grads, stats, state = run(unspool.HostEngine(host(tuple(hazards))))
    expected, expected_stats, expected_state = run(in_jax(jnp.array(hazards)))
    np.testing.assert_allclose(grads, expected, rtol=1e-9, atol=1e-9)
    for name in ("dropped", "waiting", "useful_steps"):
        # A step that raises an exception has been begun in JAX alone.
        same = np.array_equal(stats[name], expected_stats[name])
        assert same or name == "useful_steps", name
    np.testing.assert_allclose(
        state[0].survival.weight, expected_state[0].survival.weight, rtol=1e-12
    )
    assert state[0].survival.weight[-1] > 2
    assert (np.sum(stats["waiting"]) > 0) == (host is OnHost)


def test_those_that_wait_are_frozen_and_begin_when_the_others_do():
    def record(estimator):
        @eqx.filter_jit
        def run(problem):
            params = jnp.full(4, 0.5)

            def update(state, _):
                before = state
                estimate, state = estimator.estimate(problem, params, state)
                return state, (before, estimate, state)

            state = estimator.init(problem, params, key=KEY)
            return jax.lax.scan(update, state, length=20)[1]

        return run

    problem, estimator = Fated(jnp.array(HAZARDS["every other"])), unspool.RTRL(32, WINDOW)
    run = record(estimator)
    before, estimate, after = run(problem)
    _, sound, same = run(Fated(jnp.array(HAZARDS["none"])))
    # In chunks it is all the same, up to rounding.
    _, in_chunks, other = record(unspool.Chunked(estimator, 8))(problem)
    np.testing.assert_allclose(in_chunks.grad, estimate.grad, rtol=1e-9)
    for name in ("dropped", "waiting", "episodes", "useful_steps"):
        assert np.array_equal(in_chunks.stats[name], estimate.stats[name])
    weights = other[0].survival.weight, after[0].survival.weight
    np.testing.assert_allclose(*weights, rtol=1e-12)
    assert np.all(weights[0][-1, 1:] > 1.2)
    # Clocks, episodes and their data are as if nothing had failed.
    before, after, same = before[0], after[0], same[0]
    data = lambda w: jax.random.key_data(w.trajectories.clock.key)
    assert np.array_equal(after.each.episode, same.each.episode) and np.array_equal(
        data(after), data(same)
    )
    assert np.array_equal(after.trajectories.clock.t, same.trajectories.clock.t)
    assert np.array_equal(estimate.stats["episodes"], sound.stats["episodes"])
    failed = after.failed[:, 0]
    waits = before.failed[:, 0] & (before.each.episode == after.each.episode)
    assert 0.2 < np.mean(waits) < 0.8
    assert np.array_equal(estimate.stats["waiting"], np.sum(waits, axis=1))
    assert np.all(failed[waits])
    taken = after.trajectories.arms.taken[:, 0] - before.trajectories.arms.taken[:, 0]
    assert np.all(taken[waits] == 0)
    assert np.all(after.trajectories.arms.done[:, 0][waits])
    # Every one of the others has run its window, and has failed if that was its fate.
    fates = draw_fates(after.trajectories.clock.key)
    window = (np.asarray(after.trajectories.clock.t) - 1) // WINDOW
    doomed = np.take_along_axis(fates, window[..., None], axis=2)[..., 0] < 0.5
    assert np.array_equal(failed & ~waits, doomed & ~waits)
    # Where nothing fails nothing is weighed, nor counted.
    assert np.all(np.asarray(same.survival.weight) == 1)
    assert not np.any(sound.stats["waiting"])
    np.testing.assert_allclose(sound.grad, np.tile(right_gradient(), (20, 1)), rtol=1e-12)


def draw_fates(keys):
    """The fates of episodes of these keys, window by window on a last axis."""
    words = jax.jit(jnp.vectorize(lambda key: jax.random.key_data(stream(key, Purpose.START))[0]))
    return draw_fate(np.asarray(words(keys))[..., None])


def test_warming_up_counts_who_came_through():
    problem, estimator = Fated(jnp.array(HAZARDS["every other"])), unspool.RTRL(32, WINDOW)
    state = estimator.init(problem, jnp.full(4, 0.5), key=KEY)
    phases = np.asarray(state[0].trajectories.clock.t) // WINDOW % 4
    fails = draw_fates(state[0].trajectories.clock.key) < 0.5
    attempted, failed, done = np.zeros(4), np.zeros(4), np.zeros(32, bool)
    # 63 episodes of 32 workers are remembered, each of four windows.
    fade = 1 - 1 / (63 * 4)
    for index in range(3):
        window = index - (3 - phases)
        attempted, failed = fade * attempted, fade * failed
        for worker in np.flatnonzero((window >= 0) & ~done):
            attempted[window[worker]] += 1
            done[worker] = fails[worker, window[worker]]
            failed[window[worker]] += done[worker]
    np.testing.assert_allclose(state[0].survival.attempted, attempted, rtol=1e-12)
    np.testing.assert_allclose(state[0].survival.failed, failed, rtol=1e-12)
    # Those that have had no window yet wait as if they had failed.
    assert np.array_equal(state[0].failed[0], done | (phases == 0)) and sorted(phases) == sorted(
        [0, 1, 2, 3] * 8
    )
    rate = (failed + failed.sum() / attempted.sum()) / (attempted + 1)
    weight = 1 / np.maximum(np.cumprod([1.0, *(1 - rate)]), 0.05)
    np.testing.assert_allclose(state[0].survival.weight, weight, rtol=1e-12)


class Spread(Fated):
    """Episodes whose losses differ."""

    def init_state(self, params, *, key):
        state = super().init_state(params, key=key)
        return state | {"x": 4.0 * state["fate"]}


@pytest.mark.parametrize("kind", ["none", "common", "all"])
def test_an_evaluation_leaves_out_episodes_that_failed_and_counts_them(kind):
    hazards = np.array({"all": [0, 1.0, 0, 0]}.get(kind) or HAZARDS[kind])
    found = unspool.evaluate(Spread(jnp.array(hazards)), jnp.full(4, 0.5), key=KEY, num_episodes=40)
    root = part_keys(stream(KEY, Purpose.EVALUATION), 1)[0]
    fates = draw_fates(jax.random.split(root, 40))
    losses = np.zeros(40)
    for i, fate in enumerate(fates):
        x = 4 * fate
        for t in range(8):
            x = 0.5 * x + 0.5
            losses[i] += LOADINGS[t // 2] @ x / 8
    healthy = np.all(fates >= hazards, axis=1)
    assert found.dropped == np.sum(~healthy) and found.num_episodes == 40
    if kind == "all":
        assert found.dropped == 40 and math.isnan(found.loss)
        return
    assert (found.dropped > 0) == (kind == "common")
    losses = losses[healthy]
    np.testing.assert_allclose(found.loss, losses.mean(), rtol=1e-12)
    error = losses.std(ddof=1) / len(losses) ** 0.5
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-12)
