"""Simulators on the host: as JAX would have it, and what happens when they fail."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import problems
from unspool._engine.host import check_black_box

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
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
keeps_apart = [e for e in ESTIMATORS.values() if not e.needs_copies]


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


@pytest.mark.parametrize("estimator", keeps_apart, ids=lambda e: type(e).__name__)
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
    "estimator", [unspool.NRES(4, 3, 0.4), unspool.PES(4, 3, 0.4)], ids=lambda e: type(e).__name__
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
    engine = unspool.HostEngine(OnHost(fails_at=4))
    record = last_record(engine, unspool.NRES(6, 3, 0.1), throw=False)
    assert record.result == unspool.RESULTS.dropped_workers
    # Of an antithetic pair one arm is always above: once an episode every worker fails.
    assert 0 < record.dropped <= 6
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
    """Both begin the same episodes: the first has lost its own, and is told so."""
    engine = unspool.HostEngine(Simulated())
    start = lambda: unspool.train(
        engine, ESTIMATORS["NRES"], optax.sgd(0.01), num_updates=4, key=jax.random.key(3),
        log_every=1,
    )  # fmt: skip
    first, second = start(), start()
    next(first)
    next(second)
    with pytest.raises(unspool.TrainingError, match="another training with the same key"):
        list(first)


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


@dataclasses.dataclass(frozen=True)
class WrongLoss(OnHost):
    def step(self, params, state, t, *, seeds):
        return state, np.zeros(())


@dataclasses.dataclass(frozen=True)
class WrongState(OnHost):
    def step(self, params, state, t, *, seeds):
        return {"x": state["x"].astype(np.float32), "steps": state["steps"]}, np.zeros(len(t))


@dataclasses.dataclass(frozen=True)
class NoRows(OnHost):
    def init_state(self, params, *, seeds):
        return np.zeros(3)

    def step(self, params, state, t, *, seeds):
        return state, np.zeros(len(t))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="instance of AbstractHostProblem.*call it first"):
        check_black_box(OnHost)
    with pytest.raises(ValueError, match=r"hashable.*dataclass\(frozen=True\)"):
        unspool.HostEngine(Unhashable())
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got 0"):
        unspool.HostEngine(OnHost(horizon=0))
    with pytest.raises(ValueError, match=r"one loss for each row.*got \(\)"):
        last_record(WrongLoss(), ESTIMATORS["NRES"])
    with pytest.raises(ValueError, match="keep their shapes and types"):
        last_record(WrongState(), ESTIMATORS["NRES"])
    with pytest.raises(ValueError, match="lead with an axis of rows"):
        last_record(NoRows(), ESTIMATORS["NRES"])
    with pytest.raises(ValueError, match="shapes of init_params"):
        last_record(OnHost(), ESTIMATORS["NRES"], params=jnp.zeros(2))
    with pytest.raises(ValueError, match="reference must be given for HostEngine"):
        unspool.check_unbiased(OnHost(), ESTIMATORS["NRES"], key=jax.random.key(0))
