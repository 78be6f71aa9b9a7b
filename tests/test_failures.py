"""Workers that fail: each is left out alone, and who is left speaks for all."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import _failure_rate
from unspool._estimator.survival import Survival
from unspool._failure_rate import FailureRate, survive_too_rarely
from unspool._random import Purpose, part_keys, stream
from unspool._results import name_result

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)

# --- One worker's derivative. ---

SOUND, NO_DERIVATIVE, NO_START, NO_LOSS, SILENT = range(5)


class Kinds(unspool.AbstractProblem):
    """Each worker's first episode is of a kind of its own."""

    draws: jax.Array
    kinds: jax.Array
    horizon: int = 3

    def init_params(self, *, key):
        return jnp.array([0.7, 1.3])

    def init_state(self, params, *, key):
        draw = jax.random.uniform(key)
        kind = self.kinds[jnp.argmin(jnp.abs(self.draws - draw))]
        level = jnp.where(kind == NO_DERIVATIVE, 0.0, 1.0 + draw)
        root = jnp.sqrt(params[0] * jnp.where(kind == NO_START, 0.0, draw))
        return {"level": level, "kind": kind, "x": root}

    def step(self, params, state, t, *, key):
        x = jnp.sin(state["x"] + params[1] * state["level"]) + params[0]
        loss = x**2 + jnp.sqrt(params[1] * state["level"])
        loss = jnp.where(state["kind"] == SILENT, 0.0 * loss, loss)
        loss = jnp.where(state["kind"] == NO_LOSS, jnp.nan, loss)
        return state | {"x": x}, loss


DERIVATIVES = {
    "RTRL": unspool.RTRL(12, 3),
    "ControlledGPES": unspool.ControlledGPES(12, 3, 3, 0.01),
    "Chunked": unspool.Chunked(unspool.TBPTT(12, 3), 5),
}
PATTERNS = {
    "none": [],
    "worker 0": [(0, NO_DERIVATIVE)],
    "the last worker": [(11, NO_START)],
    "several": [(i, NO_START if i % 2 else NO_DERIVATIVE) for i in (1, 2, 5, 7, 8)],
    "losses": [(0, NO_LOSS), (4, NO_LOSS)],
    "both": [(0, NO_START), (3, NO_LOSS), (6, NO_DERIVATIVE), (11, NO_LOSS)],
    "all but one": [(i, NO_DERIVATIVE if i % 2 else NO_LOSS) for i in range(12) if i != 6],
    "all derivatives": [(i, NO_DERIVATIVE) for i in range(12)],
    "all losses": [(i, NO_LOSS) for i in range(12)],
    "all of either": [(i, NO_DERIVATIVE if i < 6 else NO_LOSS) for i in range(12)],
}


def of_kinds(count, spoilt):
    """A problem whose workers' first episodes are of these kinds, in order."""
    state = unspool.BPTT(count).init(Kinds(jnp.zeros(1), jnp.zeros(1, int)), jnp.ones(2), key=KEY)
    # Episodes before these have been given to workers that are to begin at once.
    keys = state.data_keys(state.next_births(state.birth))
    draws = jax.vmap(lambda key: jax.random.uniform(stream(key, Purpose.START)))(keys)
    kinds = np.full(count, SOUND)
    for worker, kind in spoilt:
        kinds[worker] = kind
    return Kinds(draws, jnp.array(kinds))


def by_hand(problem):
    """Each worker's gradient and loss per step, worker after worker."""

    def total(params, draw):
        state, sum_ = {"level": 1.0 + draw, "kind": SOUND, "x": jnp.sqrt(params[0] * draw)}, 0.0
        for t in range(3):
            state, loss = problem.step(params, state, t, key=KEY)
            sum_ += loss
        return sum_ / 3

    one = jax.jit(jax.value_and_grad(total))
    params = problem.init_params(key=KEY)
    losses, grads = zip(*[one(params, draw) for draw in problem.draws], strict=True)
    return np.stack(losses), np.stack(grads)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_one_workers_derivative_is_its_own_fault(name):
    estimator = DERIVATIVES[name]
    params = jnp.array([0.7, 1.3])

    @eqx.filter_jit
    def estimate(problem):
        state = estimator.init(problem, params, key=KEY)
        return estimator.estimate(problem, params, state)

    problem = of_kinds(12, [])
    losses, grads = by_hand(problem)
    for pattern, spoilt in PATTERNS.items():
        kinds = dict(spoilt)
        found, after = estimate(of_kinds(12, spoilt))
        left = np.array([i for i in range(12) if i not in kinds], int)
        lost = sum(kind == NO_LOSS for kind in kinds.values())
        assert found.stats["dropped"] == len(kinds) and found.stats["waiting"] == 0, pattern
        assert np.array_equal(np.flatnonzero(after.failed), sorted(kinds)), pattern
        if not left.size:
            expected = "all_workers_dropped" if lost else "nonfinite_gradient"
            assert name_result(found.result) == expected, pattern
            continue
        expected = "dropped_workers" if lost else "dropped_derivatives" if kinds else "successful"
        assert name_result(found.result) == expected, pattern
        # Workers without a loss have no gradient, whatever their noise: what is left of the sum.
        silent, _ = estimate(of_kinds(12, [(i, SILENT) for i in kinds]))
        expected = np.asarray(silent.grad) * 12 / left.size
        np.testing.assert_allclose(found.grad, expected, rtol=1e-9, err_msg=pattern)
        if name in ("RTRL", "Chunked"):
            np.testing.assert_allclose(found.grad, grads[left].mean(0), rtol=1e-9)
            assert not np.allclose(grads[left].mean(0), grads.mean(0), rtol=1e-3) or not kinds
        if name != "ControlledGPES":
            np.testing.assert_allclose(found.loss, losses[left].mean(), rtol=1e-9)


@pytest.mark.parametrize("kind", [SOUND, NO_DERIVATIVE, NO_LOSS])
def test_the_only_worker(kind):
    problem, estimator, params = of_kinds(1, [(0, kind)]), unspool.BPTT(1), jnp.array([0.7, 1.3])
    found, _ = estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))
    expected = {
        SOUND: "successful",
        NO_DERIVATIVE: "nonfinite_gradient",
        NO_LOSS: "all_workers_dropped",
    }
    assert name_result(found.result) == expected[kind]
    assert found.stats["dropped"] == (kind != SOUND)


# --- Failures that have nothing to do with the noise. ---

WINDOW, NUM_WINDOWS = 2, 4
HAZARDS = {
    "none": [0.0, 0.0, 0.0, 0.0],
    "rare": [0.05, 0.05, 0.05, 0.05],
    "common": [0.3, 0.3, 0.3, 0.3],
    "every other": [0.5, 0.5, 0.5, 0.5],
    "in the last window": [0.0, 0.0, 0.0, 0.6],
    "in the first window": [0.7, 0.0, 0.0, 0.0],
}
LOADINGS = np.array([[2.0, 1, -1, 0], [0, 1, 3, 1], [-1, 1, 1, 2], [1, -2, 0, 3]])
"""What each window's loss makes of the state, so that windows differ."""


class Fated(unspool.AbstractProblem):
    """A linear problem whose episodes carry the windows in which they fail from the start."""

    hazards: jax.Array
    horizon: int = WINDOW * NUM_WINDOWS

    def init_params(self, *, key):
        return jnp.full(4, 0.5)

    def init_state(self, params, *, key):
        return {"x": jnp.zeros(4), "fate": draw_fate(jax.random.key_data(key)[0])}

    def step(self, params, state, t, *, key):
        window = t // WINDOW
        x = 0.5 * state["x"] + params
        loss = jnp.vdot(jnp.array(LOADINGS)[window], x)
        fails = state["fate"][window] < self.hazards[window]
        return state | {"x": x}, jnp.where(fails, jnp.nan, loss)


class Restarting(Fated):
    """Could end early, and never does: a worker that fails does not wait."""

    def is_over(self, state):
        return jnp.array(False)


def draw_fate(word):
    """Four random numbers of eight bits each."""
    return ((word >> (8 * np.arange(4, dtype=np.uint32))) & 255) / 256


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

    def step(self, simulator, command):
        window = simulator["t"] // WINDOW
        if simulator["fate"][window] < self.hazards[window]:
            raise ArithmeticError("fate")
        x = 0.5 * simulator["x"] + command
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


@pytest.mark.parametrize("name", LONG)
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
        np.testing.assert_allclose(1 / state.survival.weight, survival, rtol=0.25)
        attempted = estimator.num_workers * num_updates - np.sum(stats["waiting"])
        failed = np.sum(stats["dropped"]) / attempted
        steady = np.sum(survival[:-1] - survival[1:]) / np.sum(survival[:-1])
        assert abs(failed / steady - 1) < 0.04


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
    grads, _, _ = run(unspool.JointEngine(problems))
    off, error = errors(grads, right_gradient())
    assert error < 0.004 and np.all(off < 5.5)


@pytest.mark.parametrize(("host", "in_jax"), [(OnHost, Fated), (Simulated, Restarting)])
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
    np.testing.assert_allclose(state.survival.weight, expected_state.survival.weight, rtol=1e-12)
    assert state.survival.weight[-1] > 2
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
    weights = other.survival.weight, after.survival.weight
    np.testing.assert_allclose(*weights, rtol=1e-12)
    assert np.all(weights[0][-1, 1:] > 1.2)
    # Clocks, episodes and their data are as if nothing had failed.
    data = lambda w: jax.random.key_data(w.trajectories.key)
    assert np.array_equal(after.birth, same.birth) and np.array_equal(data(after), data(same))
    assert np.array_equal(after.trajectories.t, same.trajectories.t)
    assert np.array_equal(estimate.stats["episodes"], sound.stats["episodes"])
    waits = before.failed & (before.birth == after.birth)
    assert 0.2 < np.mean(waits) < 0.8
    assert np.array_equal(estimate.stats["waiting"], np.sum(waits, axis=1))
    assert np.all(after.failed[waits])
    taken = after.trajectories.taken[:, 0] - before.trajectories.taken[:, 0]
    assert np.all(taken[waits] == 0)
    assert np.all(after.trajectories.over[:, 0][waits])
    # Every one of the others has run its window, and has failed if that was its fate.
    fates = draw_fates(after.trajectories.key)
    window = (np.asarray(after.trajectories.t) - 1) // WINDOW
    doomed = np.take_along_axis(fates, window[..., None], axis=2)[..., 0] < 0.5
    assert np.array_equal(after.failed & ~waits, doomed & ~waits)
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
    phases = np.asarray(state.trajectories.t) // WINDOW % 4
    fails = draw_fates(state.trajectories.key) < 0.5
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
    np.testing.assert_allclose(state.survival.attempted, attempted, rtol=1e-12)
    np.testing.assert_allclose(state.survival.failed, failed, rtol=1e-12)
    # Those that have had no window yet wait as if they had failed.
    assert np.array_equal(state.failed, done | (phases == 0)) and sorted(phases) == sorted(
        [0, 1, 2, 3] * 8
    )
    rate = (failed + failed.sum() / attempted.sum()) / (attempted + 1)
    weight = 1 / np.maximum(np.cumprod([1.0, *(1 - rate)]), 0.05)
    np.testing.assert_allclose(state.survival.weight, weight, rtol=1e-12)


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


# --- When training stops. ---


def chance_of_stopping(num_attempts, rate):
    """The probability that so many attempts, of which this share fail, stop the training."""
    total = 0.0
    for failed in range(num_attempts + 1):
        test = FailureRate()
        test.add(np.array([num_attempts]), np.array([failed]), np.array([True]))
        if test.is_too_high:
            chance = rate**failed * (1 - rate) ** (num_attempts - failed)
            total += math.comb(num_attempts, failed) * chance
    return total


def test_the_rule_by_which_training_stops_is_no_flip_of_a_coin(monkeypatch):
    for num_attempts in (1, 2, 8, 19, 20, 21, 50, 200, 500):
        assert chance_of_stopping(num_attempts, 0.5) <= 1e-6
        assert chance_of_stopping(num_attempts, 0.3) <= 1e-10
    assert chance_of_stopping(19, 1.0) == 0 and chance_of_stopping(20, 1.0) == 1
    assert chance_of_stopping(100, 0.9) > 0.999 and chance_of_stopping(500, 0.7) > 0.999
    monkeypatch.setattr(_failure_rate, "_CHANCE", 0.5)
    assert chance_of_stopping(50, 0.5) > 0.1


def test_no_single_record_of_few_workers_stops_and_old_ones_are_forgotten():
    test, yes = FailureRate(), np.array([True])
    verdicts = []
    for failed in [8, 8, 8] + [0] * 10:
        test.add(np.array([8]), np.array([failed]), yes)
        verdicts.append(test.is_too_high)
    assert verdicts == [False, False, True] + [False] * 10
    assert test.counts == (80, 0)


def test_few_that_survive_are_told_from_few_that_were_counted():
    def verdict(rate, num_windows, attempts):
        attempted = jnp.full(num_windows, float(attempts))
        return survive_too_rarely(
            [Survival(attempted, rate * attempted, jnp.ones(num_windows + 1))]
        )

    # 0.55**8 is 0.8 %, 0.55**5 is 5.03 %; a single window has no late ones.
    assert verdict(0.45, 8, 1000) and not verdict(0.45, 8, 10)
    assert not verdict(0.45, 5, 1000) and not verdict(0.99, 1, 1000)
    assert verdict(0.45, 6, 1000) and not verdict(0.45, 6, 40)


def test_training_stops_for_what_it_is_to_stop_for():
    estimator = unspool.RTRL(20, 1)

    def train(hazard, num_updates, throw=True):
        problem = Fated(jnp.full(4, hazard))
        records, why = [], ""
        try:
            for record in unspool.train(
                problem,
                estimator,
                optax.sgd(0.0),
                num_updates=num_updates,
                key=KEY,
                log_every=5,
                throw=throw,
            ):
                records.append(record)
        except unspool.TrainingError as error:
            why = str(error)
        return len(records), why

    assert train(0.3, 100) == (20, "")
    # In five updates fewer than 20 workers begin, which is too few to say anything but nothing.
    for num_updates, num_records in ((5, 1), (100, 2)):
        count, why = train(1.0, num_updates)
        assert count == num_records and "workers dropped" in why
    assert train(1.0, 25, throw=False) == (5, "")
    # Of two steps one never fails: 0.4**4 of the episodes get to the end, and 43 % fail per try.
    count, why = train(0.6, 400)
    assert count < 80 and "fewer than 5% of the episodes" in why
