"""Simulators on the host give what JAX gives, and may compute with JAX themselves."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.host import ESTIMATORS, Batched, InJax, OnHost, Simulated, last_record
from support.limits import HANG
from support.slow import slow
from unspool import problems

# What these do on the host, the others do too.
SLOW = {"Chunked", "GPES", "ESSingle", "FullES", "PES", "TruncatedES"}


def some(names):
    values = [slow(ESTIMATORS[name], id=name, when=name in SLOW) for name in names]
    return pytest.mark.parametrize("estimator", values)


every_estimator = some(ESTIMATORS)
keeps_apart = some(name for name, e in ESTIMATORS.items() if not e.plan(12).needs_copies)


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


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_a_problem_computes_with_jax_has_the_precision_of_the_program(precision):
    seen = set()

    class Computing(OnHost):
        def step(self, params, state, t, *, seeds):
            seen.add(str(jnp.ones(()).dtype))
            return super().step(params, state, t, seeds=seeds)

    with jax.enable_x64(precision == "float64"):
        engine = unspool.HostEngine(Computing())
        params, estimator = engine.init_params(key=jax.random.key(0)), unspool.NRES(2, 12, 0.1)
        state = estimator.init(engine, params, key=jax.random.key(0))
        seen.clear()
        jax.block_until_ready(estimator.estimate(engine, params, state))
    assert seen == {precision}


@keeps_apart
def test_simulators_that_keep_their_state_give_what_jax_gives(estimator, float64):
    in_jax, simulated = (
        last_record(problem, estimator) for problem in (problems.EarlyEnd(), Simulated())
    )
    assert_same(in_jax.params, simulated.params, 1e-12)
    assert_same(in_jax.loss, simulated.loss, 1e-12)
    assert in_jax.useful_steps == simulated.useful_steps


@pytest.mark.slow
def test_a_nearly_equal_problem_is_told_apart(float64):
    near = dataclasses.replace(Simulated(), drain=0.3 + 1e-9)
    ours, other = (last_record(problem, ESTIMATORS["NRES"]) for problem in (Simulated(), near))
    assert np.max(np.abs(ours.params - other.params)) > 1e-12


@pytest.mark.parametrize("problem", [Batched(), slow(Simulated())], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(
    "estimator",
    [unspool.NRES(4, 3, 0.4), slow(unspool.PES(4, 3, 0.4))],
    ids=lambda e: type(e).__name__,
)
def test_unbiased_where_the_arms_end_at_different_times(problem, estimator, float64):
    params = jnp.array([0.4, 0.2])
    target = estimator.plan(12).target
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


def test_states_keep_every_bit_in_single_precision():
    engine = unspool.HostEngine(Batched(drain=0.1))
    params = engine.init_params(key=jax.random.key(0))
    step_by_step = engine.start(params, jax.random.split(jax.random.key(0), 2))
    at_once, _ = engine.unroll(params, step_by_step, 9)
    for _ in range(9):
        step_by_step, _ = engine.unroll(params, step_by_step, 1)
    np.testing.assert_array_equal(at_once.arms.state, step_by_step.arms.state)
    level = np.array(at_once.arms.state[0]).view(np.float64)[:, 0, 0]
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
        results.append((trajectories.arms.state, trajectories.arms.done, losses))
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

    def actions(self, simulators, params, t):
        return list(policy(params, jnp.stack([simulator["x"] for simulator in simulators])))

    def step(self, simulator, action):
        simulator["x"] = 0.9 * simulator["x"] + 0.1 * action
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


@pytest.mark.slow
def test_simulators_may_compute_with_jax_where_there_is_one_thread():
    """Large arrays and several trainings: what hung in one of them may have gone well in others."""
    flags = "--xla_backend_optimization_level=0"
    environment = os.environ | {"NPROC": "1", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", COMPUTES_WITH_JAX]
    try:
        all_done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=HANG
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"it hangs: it has not ended within {HANG:g} s")
    assert all_done.returncode == 0, all_done.stderr
