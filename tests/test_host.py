"""Simulators on the host: as JAX would have it, and what happens when they fail."""

import dataclasses
import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import problems
from unspool._engine.host import check_black_box
from unspool._engine.stage import Stretch

ESTIMATORS = {
    "NRES": unspool.NRES(5, 3, 0.3),
    "PES": unspool.PES(5, 3, 0.3),
    "GPES": unspool.GPES(5, 6, 3, 0.3),
    "FullES": unspool.FullES(5, 0.3),
    "ESSingle": unspool.ESSingle(5, 3, 0.3),
    "TruncatedES": unspool.TruncatedES(5, 3, 0.3),
    "a window that does not divide the horizon": unspool.NRES(5, 5, 0.3),
    "Chunked": unspool.Chunked(unspool.PES(5, 3, 0.3), 2),
}
# What these two do on the host, the others do too.
SLOW = {"GPES", "ESSingle"}


def some(names):
    marks = lambda name: [pytest.mark.slow] if name in SLOW else []
    values = [pytest.param(ESTIMATORS[name], marks=marks(name), id=name) for name in names]
    return pytest.mark.parametrize("estimator", values)


every_estimator = some(ESTIMATORS)
keeps_apart = some(name for name, e in ESTIMATORS.items() if not e.needs_copies)


class InJax(unspool.AbstractProblem):
    """A pair of coupled numbers, with noise at the start and in every step."""

    horizon: int = 12

    def init_params(self, *, key):
        return {"a": jnp.array([0.5, 0.2]), "b": jnp.array(0.7)}

    def init_state(self, params, *, key):
        low, _ = self._uniform(key)
        return {"x": jnp.stack([low, params["b"]]), "steps": jnp.zeros((), int)}

    def step(self, params, state, t, *, key):
        low, high = self._uniform(key)
        x, a = state["x"], params["a"]
        x = jnp.stack([jnp.sin(a[0] * x[1] + x[0]) + low, a[1] * x[0] * params["b"] + high])
        return {"x": x, "steps": state["steps"] + 1}, jnp.sum(x**2) + 0.1 * t

    def is_over(self, state):
        return (state["x"][1] > 1.2) & (state["steps"] > 4)

    def _uniform(self, key):
        return jax.random.key_data(key).astype(float) / 2.0**32


@dataclasses.dataclass(frozen=True)
class OnHost(unspool.AbstractHostProblem):
    """The same in NumPy, rows at once."""

    horizon: int = 12
    fails_at: int = -1

    def init_params(self, *, key):
        return InJax().init_params(key=key)

    def init_state(self, params, *, seeds):
        low, _ = self._uniform(seeds)
        return {"x": np.stack([low, params["b"]], 1), "steps": np.zeros(len(seeds), int)}

    def step(self, params, state, t, *, seeds):
        if np.any((t == self.fails_at) & (params["b"] > 0.7)):
            raise ArithmeticError("this one is above")
        low, high = self._uniform(seeds)
        (x, y), (a, b) = state["x"].T, params["a"].T
        x, y = np.sin(a * y + x) + low, b * x * params["b"] + high
        loss = x**2 + y**2 + 0.1 * t
        return {"x": np.stack([x, y], 1), "steps": state["steps"] + 1}, loss

    def is_over(self, state):
        return (state["x"][:, 1] > 1.2) & (state["steps"] > 4)

    def _uniform(self, seeds):
        return (seeds & np.uint64(2**32 - 1)) / 2**32, (seeds >> np.uint64(32)) / 2**32


class Level:
    """Somebody's simulator: it keeps its state to itself."""

    made = 0

    def __init__(self):
        Level.made += 1

    def reset(self):
        self.level, self.steps = 0.0, 0

    def move(self, inflow):
        self.level += inflow
        self.steps += 1
        return 0.5 * (self.level - 1.0) ** 2


@dataclasses.dataclass(frozen=True)
class Simulated(unspool.AbstractSimulatorProblem):
    """`problems.EarlyEnd`, by way of that simulator."""

    horizon: int = 12
    filling: int = 4
    drain: float = 0.3
    fails_at: int = -1
    commands_fail: bool = False

    def init_params(self, *, key):
        return jnp.array([0.4, 0.2])

    def make(self):
        return Level()

    def reset(self, simulator, params, *, seed):
        simulator.reset()

    def commands(self, simulators, params, t):
        if self.commands_fail:
            raise ArithmeticError("no command")
        inflow = params[:, 0] + params[:, 1] * t / self.horizon
        return np.where(t < self.filling, inflow, -self.drain)

    def step(self, simulator, command):
        loss = simulator.move(command)
        if simulator.steps == self.fails_at and simulator.level > 3:
            raise ArithmeticError("too high")
        return loss, simulator.steps >= self.filling and simulator.level <= 0


@dataclasses.dataclass(frozen=True)
class Batched(unspool.AbstractHostProblem):
    """`problems.EarlyEnd` in NumPy."""

    horizon: int = 12
    filling: int = 4
    drain: float = 0.3

    def init_params(self, *, key):
        return jnp.array([0.4, 0.2])

    def init_state(self, params, *, seeds):
        return np.zeros((len(seeds), 2))

    def step(self, params, state, t, *, seeds):
        inflow = params[:, 0] + params[:, 1] * t / self.horizon
        level = state[:, 0] + np.where(t < self.filling, inflow, -self.drain)
        return np.stack([level, state[:, 1] + 1], 1), 0.5 * (level - 1) ** 2

    def is_over(self, state):
        return (state[:, 1] >= self.filling) & (state[:, 0] <= 0)


def last_record(engine, estimator, num_updates=9, **options):
    options = {"key": jax.random.key(3), "log_every": 3} | options
    *_, record = unspool.train(
        engine, estimator, optax.sgd(0.01), num_updates=num_updates, **options
    )
    return record


def assert_same(first, second, tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 0, tolerance), first, second)


@every_estimator
def test_the_host_gives_what_jax_gives(estimator, float64):
    in_jax, on_host = (last_record(problem, estimator) for problem in (InJax(), OnHost()))
    assert_same(in_jax.params, on_host.params, 1e-12)
    assert_same(in_jax.loss, on_host.loss, 1e-12)
    assert (in_jax.useful_steps, in_jax.dropped) == (on_host.useful_steps, 0)
    assert_same(
        *(
            unspool.evaluate(problem, in_jax.params, key=jax.random.key(1), num_episodes=7)
            for problem in (InJax(), OnHost())
        ),
        1e-12,
    )


@keeps_apart
def test_simulators_that_keep_their_state_give_what_jax_gives(estimator, float64):
    in_jax, simulated = (
        last_record(problem, estimator) for problem in (problems.EarlyEnd(), Simulated())
    )
    assert_same(in_jax.params, simulated.params, 1e-12)
    assert_same(in_jax.loss, simulated.loss, 1e-12)
    assert in_jax.useful_steps == simulated.useful_steps


def test_a_nearly_equal_problem_is_told_apart(float64):
    near = dataclasses.replace(Simulated(), drain=0.3 + 1e-9)
    ours, other = (last_record(problem, ESTIMATORS["NRES"]) for problem in (Simulated(), near))
    assert np.max(np.abs(ours.params - other.params)) > 1e-12


@pytest.mark.parametrize("problem", [Batched(), Simulated()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(
    "estimator",
    [unspool.NRES(4, 3, 0.4), pytest.param(unspool.PES(4, 3, 0.4), marks=pytest.mark.slow)],
    ids=lambda e: type(e).__name__,
)
def test_unbiased_where_the_arms_end_at_different_times(problem, estimator, float64):
    params = jnp.array([0.4, 0.2])
    target = estimator.target(12)
    exact = problems.EarlyEnd().exact_gradient(params, target)
    # Simulators of one row each are slow to check, and give the same bits as the batched ones.
    num_chains = 400 if isinstance(problem, Batched) else 100
    options = {"key": jax.random.key(5), "num_chains": num_chains}
    test = unspool.check_unbiased(problem, estimator, reference=exact, **options)
    assert test.passed and test.dropped == 0, test
    if isinstance(problem, Batched):
        wrong = problems.EarlyEnd(goal=0.6).exact_gradient(params, target)
        test = unspool.check_unbiased(problem, estimator, reference=wrong, **options)
        assert not test.passed, test


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
    assert 12 < made <= 12 + 2 * record.dropped + 12


def test_training_that_cannot_go_on_shows_the_traceback():
    with pytest.raises(unspool.TrainingError, match="ArithmeticError: no command"):
        last_record(Simulated(commands_fail=True), ESTIMATORS["NRES"])


def test_an_estimator_that_copies_states_is_refused():
    with pytest.raises(ValueError, match="TruncatedES has trajectories go on.*NRES"):
        last_record(Simulated(), ESTIMATORS["TruncatedES"])
    with pytest.raises(ValueError, match="TBPTT needs derivatives, which HostEngine has not"):
        last_record(OnHost(), unspool.TBPTT(4, 3))


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


def test_states_keep_every_bit_in_single_precision():
    engine = unspool.HostEngine(Batched(drain=0.1))
    params = engine.init_params(key=jax.random.key(0))
    step_by_step = engine.start(params, jax.random.split(jax.random.key(0), 2))
    at_once, _ = engine.unroll(params, step_by_step, 9)
    for _ in range(9):
        step_by_step, _ = engine.unroll(params, step_by_step, 1)
    np.testing.assert_array_equal(at_once.state, step_by_step.state)
    level = np.array(at_once.state[0]).view(np.float64)[:, 0, 0]
    inflow = np.float32(0.4) + np.float32(0.2) * np.arange(4) / 12
    np.testing.assert_allclose(level, inflow.sum() - 0.5, 0, 1e-14)
    assert np.all(level != np.float32(level))


@pytest.mark.parametrize("problem", [OnHost(), Simulated()], ids=lambda p: type(p).__name__)
def test_the_callbacks_of_other_devices_give_the_same(problem, monkeypatch):
    """Those which are taken where the program does not run on the CPU."""
    results = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        engine = unspool.HostEngine(problem)
        params = engine.init_params(key=jax.random.key(0))
        trajectories = engine.start(params, jax.random.split(jax.random.key(0), 3))
        for num_steps in (5, 7):
            trajectories, losses = engine.unroll(params, trajectories, num_steps)
        # Stamps of simulators are compared too.
        results.append((trajectories.state, trajectories.over, losses))
    assert np.all(np.isfinite(losses)) and np.any(losses)
    assert_same(*results, 0)


def test_a_run_goes_on(tmp_path):
    """To the same bits where states come out of the host, with new episodes elsewhere."""
    for name, problem in {"host": OnHost(), "simulated": Simulated()}.items():
        settings = {"key": jax.random.key(1), "log_every": 2, "checkpoint_every": 4}
        job = unspool.NRES(5, 3, 0.3), optax.adam(0.01)
        run = unspool.Run.create(tmp_path / name, {})
        *_, whole = run.train(problem, *job, num_updates=8, **settings)
        again = unspool.Run.open(tmp_path / name)
        engine = unspool.HostEngine(problem)
        records = list(again.train(engine, *job, num_updates=8, resume_from=4, **settings))
        assert [record.update for record in records] == [6, 8]
        assert all(record.dropped == 0 for record in records)
        differs = jax.tree.map(lambda x, y: np.any(x != y), whole.params, records[-1].params)
        assert any(jax.tree.leaves(differs)) == (name == "simulated")


class Unhashable(OnHost):
    __hash__ = None


def returns(method, *alternatives, after=0):
    """`OnHost`, of which a method returns something else, from its call of number `after` on.

    Alternatives are tried one after the other: each is a function of what it would have returned.
    """

    def change(change_it, name):
        calls = iter(range(10**9))

        def changed(self, *arguments, **seeds):
            made = getattr(OnHost, method)(self, *arguments, **seeds)
            return change_it(made) if next(calls) >= after else made

        return type(name, (OnHost,), {method: changed})()

    return [change(alternative, f"Wrong{i}") for i, alternative in enumerate(alternatives)]


def raises(wrong, estimator=ESTIMATORS["NRES"]):
    """The sentence with which training is refused."""
    with pytest.raises(ValueError) as caught:
        last_record(wrong, estimator)
    sentence = str(caught.value)
    assert "\n" not in sentence and type(wrong).__name__ in sentence
    return sentence


def test_wrong_losses_are_named():
    wrong = returns(
        "step",
        lambda made: (made[0], np.array([made[1].mean()])),
        lambda made: (made[0], made[1].mean()),
        lambda made: (made[0], made[1][:, np.newaxis]),
        lambda made: (made[0], made[1].astype(str)),
        lambda made: (made[0], made[1].astype(object)),
        lambda made: (made[0], made[1] + 0j),
        lambda made: (made[0], made[1] > 1),
        lambda made: (made[0], None),
    )
    got = [
        "(1,) of float64",
        "of type float64",
        "(3, 1) of float64",
        "(3,) of <U",
        "of type ndarray",
    ]
    got += ["(3,) of complex128", "(3,) of bool", "None of type NoneType"]
    for problem, found in zip(wrong, got, strict=True):
        sentence = raises(problem)
        assert "must return one loss for each row, real numbers of shape (3,), got " in sentence
        assert found in sentence
    for problem in returns("step", lambda made: made[0], lambda made: (*made, {}), lambda _: None):
        assert "must return a pair, the next states and the losses, got" in raises(problem)


def test_wrong_ends_are_named():
    wrong = returns(
        "is_over",
        np.any,
        lambda over: over.astype(int),
        lambda over: np.where(over, 1.0, np.nan),
        lambda over: over.astype(str),
        lambda over: over[:-1],
        lambda over: over[:, np.newaxis],
        lambda over: None,
    )
    got = ["of type bool", "(3,) of int64", "(3,) of float64", "(3,) of <U5", "(2,) of bool"]
    got += ["(3, 1) of bool", "None of type NoneType"]
    for problem, found in zip(wrong, got, strict=True):
        sentence = raises(problem)
        assert "must return one boolean for each row, of shape (3,), got" in sentence
        assert f"{found} for 3 rows" in sentence


def test_wrong_states_are_named():
    leaf = lambda x: lambda state: state | {"x": x(state["x"])}
    wrong = returns("init_state", leaf(lambda x: x[0]), leaf(lambda x: list("abc")), leaf(id))
    sentences = list(map(raises, wrong))
    assert "axis of rows: init_state returned (2,) of float64 as state['x'] for 3" in sentences[0]
    assert (
        "numbers or booleans: init_state returned 'a' of type str as state['x'][0]" in sentences[1]
    )
    assert "axis of rows: init_state returned () of int64 as state['x'] for 3 rows" in sentences[2]
    wrong = returns(
        "step",
        lambda made: (leaf(lambda x: x.astype(np.float32))(made[0]), made[1]),
        lambda made: (leaf(lambda x: x[:, :1])(made[0]), made[1]),
        lambda made: (made[0] | {"more": made[1]}, made[1]),
    )
    got = ["(3, 2) of float32 as state['x'], where init_state returned (3, 2) of float64"]
    got += ["(3, 1) of float64 as state['x'], where init_state", "{'more': *, 'steps': *, 'x': *}"]
    for problem, found in zip(wrong, got, strict=True):
        assert "must keep their shapes and types: step of" in (sentence := raises(problem))
        assert found in sentence


@dataclasses.dataclass(frozen=True)
class Crowd(OnHost):
    """Has one method that wants to know how many there are."""

    method: str = "step"
    rows: tuple[int, ...] = ()
    how: str = "raises"

    def init_state(self, params, *, seeds):
        state = super().init_state(params, seeds=seeds)
        if self.method == "init_state":
            state["x"] = self.change(state["x"])
        return state

    def step(self, params, state, t, *, seeds):
        state, losses = super().step(params, state, t, seeds=seeds)
        if self.method == "init_state":
            return state, losses
        if self.how == "single":
            return state | {"x": self.change(state["x"])}, losses
        return state, self.change(losses)

    def change(self, x):
        if len(x) not in self.rows:
            return x
        if self.how == "raises":
            raise IndexError("too many")
        return {"single": x.astype(np.float32), "mean": np.full_like(x, x.mean(0))}[self.how]


@pytest.mark.parametrize("method", ["init_state", "step"])
def test_any_number_of_rows_is_tried(method):
    crowd = lambda rows, how: Crowd(method=method, rows=rows, how=how)
    alone = f"{method} of Crowd must take any number of rows at once: for each of 3 alone it works"
    assert alone in (sentence := raises(crowd((2, 3, 10), "raises"))) and "too many" in sentence
    assert "for 3 it works, for 2 of them it raised Index" in raises(crowd((2,), "raises"))
    assert "float32" in raises(crowd((2,), "single"))
    mixed = raises(crowd((2, 3, 10), "mean"))
    assert f"nothing to do with one another: {method} of Crowd returned something else" in mixed
    # What only so many rows show is found when there are so many.
    assert "float32" in raises(crowd((10,), "single"), unspool.ESSingle(5, 3, 0.3))


def test_a_mistake_made_late_stops_every_entry():
    """Nothing that comes back from a program is used, and nothing is left for the next one."""
    (problem,) = returns("step", lambda made: (made[0], None), after=30)
    key, estimator, engine = jax.random.key(0), ESTIMATORS["NRES"], unspool.HostEngine(problem)
    params = engine.init_params(key=key)
    match = "step of Wrong0 must return one loss for each row.*got None of type NoneType for"
    with pytest.raises(ValueError, match=match):
        last_record(engine, estimator)
    with pytest.raises(ValueError, match=match):
        unspool.evaluate(engine, params, key=key, num_episodes=4)
    with pytest.raises(ValueError, match=match):
        estimator.init(engine, params, key=key)
    with pytest.raises(ValueError, match="step of Wrong0"):
        unspool.check_unbiased(engine, estimator, key=key, reference=params, num_chains=30)
    good = unspool.HostEngine(OnHost())
    state = estimator.init(good, params, key=key)
    with pytest.raises(ValueError, match=match):
        estimator.estimate(engine, params, state)
    # Within a program of one's own there is nobody to raise it: the losses are NaN.
    step = jax.jit(lambda state: estimator.estimate(engine, params, state)[0].result)
    assert step(state) == unspool.RESULTS.all_workers_dropped
    assert estimator.estimate(good, params, state)[0].result == unspool.RESULTS.successful
    with pytest.raises(KeyboardInterrupt):
        unspool.evaluate(Interrupted(), params, key=key)


class Interrupted(OnHost):
    def is_over(self, state):
        if np.any(state["steps"] > 3):
            raise KeyboardInterrupt
        return super().is_over(state)


@dataclasses.dataclass(frozen=True)
class Loose(Simulated):
    """Its methods return what it is told."""

    made: object = (0.5, False)
    decided: object = None

    __eq__, __hash__ = object.__eq__, object.__hash__

    def step(self, simulator, command):
        return self.made

    def commands(self, simulators, params, t):
        return self.decided(simulators, params) if self.decided else list(params)


def run_alone(problem):
    """The losses of an episode in each of four simulators, without a program around them."""
    rows = np.zeros(4, int)
    params, seeds = np.zeros((4, 2), np.float32), np.arange(4, dtype=np.uint64)
    stretch = Stretch(
        params, rows, rows > 0, rows, seeds, np.zeros((4, 12), np.uint64), rows, np.arange(4)
    )
    return unspool.HostEngine(problem).stage.advance(stretch).losses


def test_what_simulators_return_is_checked():
    step = lambda *made: Loose(made=made)
    number, ended = "a real number as the loss, got", "a boolean for whether the episode is over,"
    for problem, words in {
        step(0.5, False, {}): "a pair, the loss and whether the episode is over, got a tuple of 3",
        Loose(made=None): "a pair, the loss and whether the episode is over, got None",
        step("0.5", False): f"{number} '0.5' of type str",
        step(None, False): f"{number} None",
        step(0.5j, False): f"{number} 0.5j",
        step(True, 0.5): f"{number} True of type bool",
        Loose(made=((0.5,), False)): f"{number} (1,) of float64",
        step(0.5, None): f"{ended} got None",
        step(0.5, 1): f"{ended} got 1 of type int",
        step(0.5, np.nan): f"{ended} got nan of type float",
        step(0.5, "False"): f"{ended} got 'False' of type str",
        step(0.5, (False,)): f"{ended} got (1,) of bool",
    }.items():
        with pytest.raises(ValueError) as caught:
            run_alone(problem)
        assert str(caught.value).startswith(f"step of Loose must return {words}")
    counted = "commands of Loose must return one command for each of the simulators, got"
    for decided, words in {
        lambda simulators, params: None: "None of type NoneType",
        lambda simulators, params: list(params)[1:]: "3 commands",
        lambda simulators, params: (p for p in params[1:]): "3 commands",
        lambda simulators, params: params[0, 0]: "of type float32",
        lambda simulators, params: dict(enumerate(params)): "of type dict",
        lambda simulators, params: "left": "'left' of type str",
    }.items():
        with pytest.raises(ValueError) as caught:
            run_alone(Loose(decided=decided))
        assert str(caught.value).startswith(counted)
        assert str(caught.value).endswith(f"{words} for 4 simulators")
    legal = [(np.float32(0.5), np.bool_(False)), (np.array(0.5), np.array(False))]
    legal += [(jnp.array(0.5), jnp.array(False)), [0.5, False]]
    for problem in (*(Loose(made=made) for made in legal), Loose(decided=lambda _, p: iter(p))):
        np.testing.assert_array_equal(run_alone(problem), 6.0)
    assert "step of Loose must return a pair" in raises(Loose(made=None), unspool.FullES(2, 0.1))


@dataclasses.dataclass(frozen=True)
class LosesSight(Batched):
    """Cannot tell of high levels whether they are over."""

    def is_over(self, state):
        if np.any(state[:, 0] > 0.9):
            raise ArithmeticError("sensor lost")
        return super().is_over(state)


@dataclasses.dataclass(frozen=True)
class LosesHead(Simulated):
    """Does not know what to do at high levels."""

    def commands(self, simulators, params, t):
        if any(simulator.level > 0.9 for simulator in simulators):
            raise ArithmeticError("sensor lost")
        return super().commands(simulators, params, t)


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
    found, kept = [], engine.stage.advance

    def keep(stretch):
        outcome = kept(stretch)
        found.append(outcome.taken)
        return outcome

    engine.stage.advance = keep
    trajectories = engine.start(params, jax.random.split(jax.random.key(0), shift.shape[1]), shift)
    for num_steps in windows:
        trajectories, _ = engine.unroll(params, trajectories, num_steps, shift)
    return np.array(found)


@pytest.mark.parametrize("kind", [LosesSight, LosesHead])
def test_steps_are_counted(kind):
    """Levels rise for four steps and sink by 0.3 in each one after.

    Two rows end at 0 or below. One is above 0.9 after four steps, one after two: both have taken
    the step after which `is_over` was asked, and not the one for which there was no command.
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


SUBPROCESS_SECONDS = 900

COMPUTES_WITH_JAX = """
import dataclasses, sys
import jax, jax.numpy as jnp, numpy as np, optax, unspool

size, key = 200, jax.random.key(0)
weights = jnp.ones((size, size)) / size

@jax.jit
def policy(params, x):
    return jnp.tanh(jnp.einsum("rij,rj->ri", params, x) + x @ weights)

@dataclasses.dataclass(frozen=True)
class Rows(unspool.AbstractHostProblem):
    horizon: int = 12

    def init_params(self, *, key):
        return jnp.zeros((size, size))

    def init_state(self, params, *, seeds):
        return np.ones((len(seeds), size), np.float32)

    def step(self, params, state, t, *, seeds):
        x = jnp.asarray(state)
        x = 0.9 * x + 0.1 * policy(params, x)
        return x, jnp.mean(x**2, 1)

@dataclasses.dataclass(frozen=True)
class Simulators(unspool.AbstractSimulatorProblem):
    horizon: int = 12

    def init_params(self, *, key):
        return jnp.zeros((size, size))

    def make(self):
        return {}

    def reset(self, simulator, params, *, seed):
        simulator["x"] = jnp.ones(size)

    def commands(self, simulators, params, t):
        return list(policy(params, jnp.stack([simulator["x"] for simulator in simulators])))

    def step(self, simulator, command):
        simulator["x"] = 0.9 * simulator["x"] + 0.1 * command
        return jnp.mean(simulator["x"] ** 2), jnp.any(simulator["x"] > 9)

# With no noise to speak of all rows are the same, and may be computed by hand.
x, exact = np.ones(size), 0.0
for _ in range(12):
    x = 0.9 * x + 0.1 * np.tanh(x)
    exact += np.mean(x**2) / 12
for problem in (Rows(), Simulators()):
    *_, record = unspool.train(
        problem, unspool.NRES(6, 6, 1e-7), optax.sgd(0.0), num_updates=4, key=key, log_every=2
    )
    assert record.dropped == 0
    np.testing.assert_allclose(record.loss, exact, 1e-4)
    found = unspool.evaluate(problem, record.params, key=key, num_episodes=9)
    np.testing.assert_allclose(found.loss, exact, 1e-4)
    # A program that is waited for elsewhere than where it was called.
    engine = unspool.HostEngine(problem)
    params = engine.init_params(key=key)
    unroll = jax.jit(engine.unroll, static_argnums=2)
    trajectories = engine.start(params, jax.random.split(key, 5))
    total = 0.0
    for _ in range(2):
        trajectories, losses = unroll(params, trajectories, 6)
        total, params = total + losses, params + 0
    np.testing.assert_allclose(total / 12, np.full((1, 5), exact), 1e-4)
"""


def test_simulators_may_compute_with_jax_where_there_is_one_thread():
    """Large arrays and several trainings: what hung in one of them may have gone well in others."""
    flags = "--xla_backend_optimization_level=0"
    environment = os.environ | {"NPROC": "1", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", COMPUTES_WITH_JAX]
    try:
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SUBPROCESS_SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"it hangs: it has not ended within {SUBPROCESS_SECONDS} s")
    assert ended.returncode == 0, ended.stderr


def test_misuse_is_named():
    with pytest.raises(ValueError, match="instance of AbstractHostProblem.*call it first"):
        check_black_box(OnHost)
    with pytest.raises(ValueError, match=r"hashable.*dataclass\(frozen=True\)"):
        unspool.HostEngine(Unhashable())
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got 0"):
        unspool.HostEngine(OnHost(horizon=0))
    with pytest.raises(ValueError, match="shapes of init_params"):
        last_record(OnHost(), ESTIMATORS["NRES"], params=jnp.zeros(2))
    with pytest.raises(ValueError, match="reference must be given for HostEngine"):
        unspool.check_unbiased(OnHost(), ESTIMATORS["NRES"], key=jax.random.key(0))
