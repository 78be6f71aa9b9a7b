"""The actors of a cluster give the bits of one process, and what happens when they do not."""

import dataclasses
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool

# Ray reads its settings when it is first imported, which is left to the engine.
installed = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not installed, reason="Ray is not installed"),
]

HORIZON = 12
ESTIMATORS = {
    "NRES": unspool.NRES(5, 3, 0.3),
    "PES": unspool.PES(5, 3, 0.3),
    "TruncatedES": unspool.TruncatedES(5, 3, 0.3),
}


def halves(seeds):
    """The two words of seeds, as numbers from 0 to 1."""
    seeds = np.asarray(seeds, np.uint64)
    return (seeds & np.uint64(2**32 - 1)) / 2**32, (seeds >> np.uint64(32)) / 2**32


def take_part(folder):
    """Leaves the number of this process there, and sleeps for as long as it has been told to."""
    if folder:
        Path(folder, str(os.getpid())).touch()
        told = Path(folder, f"sleep-{os.getpid()}")
        if told.exists():
            time.sleep(float(told.read_text()))


@dataclasses.dataclass(frozen=True)
class Batched(unspool.AbstractHostProblem):
    """Two coupled numbers, with noise at the start and in every step, and early ends."""

    horizon: int = HORIZON
    folder: str = ""
    end: float = 1.2

    def init_params(self, *, key):
        return jnp.array([0.5, 0.2])

    def init_state(self, params, *, seeds):
        return np.stack([halves(seeds)[0], params[:, 0]], 1).astype(float)

    def step(self, params, state, t, *, seeds):
        take_part(self.folder)
        (x, y), (a, b), (low, high) = state.T, params.T, halves(seeds)
        x, y = np.sin(a * y + x) + low, b * x + high
        return np.stack([x, y], 1), x**2 + y**2 + 0.1 * t

    def is_over(self, state):
        return state[:, 1] > self.end


class Walker:
    """Somebody's simulator: it keeps its state to itself."""

    def begin(self, noise, place):
        self.x, self.y, self.steps = noise, place, 0

    def walk(self, a, b):
        self.x, self.y = np.sin(a * self.y + self.x), b * self.x
        self.steps += 1
        return self.x**2 + self.y**2


@dataclasses.dataclass(frozen=True)
class Simulated(unspool.AbstractSimulatorProblem):
    """Much the same by way of that simulator; told so, it fails when it has gone too far."""

    horizon: int = HORIZON
    folder: str = ""
    end: float = 0.4
    limit: float = np.inf

    def init_params(self, *, key):
        return jnp.array([0.5, 0.2])

    def make(self):
        return Walker()

    def reset(self, simulator, params, *, seed):
        simulator.begin(halves(seed)[0], params[0])

    def commands(self, simulators, params, t):
        take_part(self.folder)
        return params

    def step(self, simulator, command):
        loss = simulator.walk(*command)
        if simulator.x > self.limit:
            raise ArithmeticError("gone too far")
        return loss, simulator.y > self.end


@dataclasses.dataclass(frozen=True)
class Aimed(Simulated):
    """A parameter and a random goal: the gradient is `params - 1/2`, smoothed or not."""

    horizon: int = 4

    def init_params(self, *, key):
        return jnp.array([0.8])

    def step(self, simulator, command):
        simulator.steps += 1
        return 0.5 * (command[0] - simulator.x) ** 2, False


KINDS = {"host": Batched(), "simulators": Simulated()}


@pytest.fixture(scope="module", autouse=True)
def small_ray():
    """A Ray of four CPUs, which the engines find."""
    with pytest.MonkeyPatch.context() as patch:
        # With a token that is nowhere but here: nothing is written to anybody's home.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        unspool.RayEngine(Batched(), 4)
        yield
        sys.modules["ray"].shutdown()


@pytest.fixture
def start():
    """Makes engines, and kills their actors afterwards."""
    engines = []

    def make(*arguments, **options):
        engines.append(unspool.RayEngine(*arguments, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def shared():
    """An engine for each kind, for tests that do not harm it."""
    engines = {name: unspool.RayEngine(problem, 2) for name, problem in KINDS.items()}
    yield engines
    for engine in engines.values():
        engine.close()


def training(engine, estimator=ESTIMATORS["NRES"], num_updates=12, **options):
    options = {"key": jax.random.key(3), "log_every": 4} | options
    records = unspool.train(engine, estimator, optax.sgd(0.01), num_updates=num_updates, **options)
    return list(records)


def pids(engine) -> list[int]:
    """The processes of the actors that are up."""
    return [member.pid for member in engine.stage._crew.members if member.pid]


def wait_until(condition, most=30.0):
    end = time.monotonic() + most
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def kill_during(engine, stretches):
    """Kills an actor once there have been so many stretches; to be joined."""

    def kill():
        wait_until(lambda: engine.traffic.stretches >= stretches)
        os.kill(pids(engine)[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def rows_of(engine, num_workers, num_steps=3, trajectories=None):
    """One stretch of antithetic pairs, begun anew unless they are given; and its seconds."""
    params = jnp.array([0.5, 0.2])
    shift = jnp.stack([jnp.full((num_workers, 2), 0.1), jnp.full((num_workers, 2), -0.1)])
    if trajectories is None:
        keys = jax.random.split(jax.random.key(1), num_workers)
        trajectories = engine.start(params, keys, shift)
    began = time.monotonic()
    trajectories, losses = engine.unroll(params, trajectories, num_steps, shift)
    losses = np.array(losses)
    return trajectories, losses, time.monotonic() - began


@pytest.mark.parametrize("num_actors", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_those_of_one_process(kind, num_actors, shared):
    engine = shared[kind]
    engine.resize(num_actors)
    for estimator in ESTIMATORS.values():
        if estimator.needs_copies and kind == "simulators":
            with pytest.raises(ValueError, match="TruncatedES has trajectories go on"):
                training(engine, estimator)
            continue
        here, there = (training(e, estimator) for e in (unspool.HostEngine(KINDS[kind]), engine))
        assert len(here) == len(there) == 3
        for one, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(one.params, other.params)
            assert (one.loss, one.useful_steps) == (other.loss, other.useful_steps)
            assert other.dropped == 0
    options = {"key": jax.random.key(1), "num_episodes": 7}
    here, there = (
        unspool.evaluate(e, there[-1].params, **options)
        for e in (unspool.HostEngine(KINDS[kind]), engine)
    )
    assert (here.loss, here.standard_error) == (there.loss, there.standard_error)
    assert len(pids(engine)) <= num_actors
    assert engine.traffic.lost_rows == engine.traffic.restarts == 0


def test_states_outlive_their_actor(start):
    """Whoever it is that dies, and whenever: the bits are those of an undisturbed run."""
    engine = start(Batched(end=np.inf), 2)
    options = {"num_updates": 400, "log_every": 400}
    (undisturbed,) = training(engine, **options)
    killer = kill_during(engine, engine.traffic.stretches + 60)
    (disturbed,) = training(engine, **options)
    killer.join()
    np.testing.assert_array_equal(undisturbed.params, disturbed.params)
    assert undisturbed.loss == disturbed.loss
    assert disturbed.result == unspool.RESULTS.successful and disturbed.dropped == 0
    assert engine.traffic.lost_rows == 0
    assert "has been given up" in engine.failures[-1]
    wait_until(lambda: rows_of(engine, 2) and len(pids(engine)) == 2)
    assert engine.traffic.restarts == 1


def test_simulators_are_lost_with_their_actor_and_counted(start):
    engine = start(Simulated(end=np.inf), 2)
    estimator = unspool.NRES(8, 3, 0.3)
    training(engine, estimator, num_updates=4)
    before = set(pids(engine))
    killer = kill_during(engine, engine.traffic.stretches + 60)
    records = training(engine, estimator, num_updates=600, log_every=50)
    killer.join()
    assert len(records) == 12
    usable = (unspool.RESULTS.successful, unspool.RESULTS.dropped_workers)
    assert all(record.result in usable for record in records)
    moved = [np.any(x.params != y.params) for x, y in zip(records, records[1:], strict=False)]
    assert all(moved)
    dropped = sum(record.dropped for record in records)
    # Four workers were with it, of which one had its episode before it.
    assert 1 <= dropped <= 4
    assert engine.traffic.lost_rows == 2 * dropped
    assert "rows of 16 were lost: actor" in " ".join(engine.failures)
    wait_until(lambda: rows_of(engine, 2) and len(pids(engine)) == 2)
    assert engine.traffic.restarts == 1 and len(set(pids(engine)) - before) == 1


def test_unbiased_after_actors_have_died(start):
    engine = start(Aimed(), 2)
    estimator = unspool.NRES(8, 2, 0.3)
    params = jnp.array([0.8])
    state = estimator.init(engine, params, key=jax.random.key(7))
    grads, dropped = [], 0
    for i in range(420):
        if i in (20, 25, 200):
            wait_until(lambda: rows_of(engine, 2, 1) and len(pids(engine)) == 2)
            os.kill(pids(engine)[i % 2], signal.SIGKILL)
        estimate, state = estimator.estimate(engine, params, state)
        dropped += int(estimate.stats["dropped"])
        grads.append(float(estimate.grad[0]))
    assert dropped > 0 and engine.traffic.lost_rows == 2 * dropped
    assert np.all(np.isfinite(grads))
    # An episode lasts two estimates: means over ten of them are independent for all purposes.
    means = np.reshape(grads[20:], (-1, 10)).mean(1)
    error = means.std(ddof=1) / np.sqrt(means.size)
    z = lambda exact: abs(means.mean() - exact) / error
    assert z(0.8 - 0.5) < 4
    assert z(0.8 - 0.3) > 4


@pytest.mark.parametrize("kind", KINDS)
def test_who_joins_later_gets_rows(kind, start, tmp_path):
    engine = start(dataclasses.replace(KINDS[kind], folder=str(tmp_path)), 1)
    at_work = lambda: {int(path.name) for path in tmp_path.iterdir()} - {os.getpid()}
    training(engine)
    assert at_work() == set(pids(engine)) and len(at_work()) == 1
    engine.resize(2)
    rows_of(engine, 4)
    wait_until(lambda: rows_of(engine, 4) and len(at_work()) == 2)
    assert at_work() == set(pids(engine))
    assert engine.traffic.restarts == 0


def test_a_slow_actor_costs_its_rows_and_no_more_than_patience(start, tmp_path):
    engine = start(Simulated(folder=str(tmp_path), end=np.inf), 2, patience=1.0)
    trajectories, losses, _ = rows_of(engine, 4)
    assert np.all(np.isfinite(losses))
    slow, fast = pids(engine)
    (tmp_path / f"sleep-{slow}").write_text("0.7")
    trajectories, losses, seconds = rows_of(engine, 4, trajectories=trajectories)
    assert 1.0 <= seconds < 1.5
    assert np.sum(np.isnan(losses), axis=1).tolist() == [2, 2]
    assert f"4 rows of 8 were lost: actor {slow} on " in engine.failures[-1]
    assert "has not answered within 1 s" in engine.failures[-1]
    assert engine.traffic.lost_rows == 4
    # What has been begun there fails at once; what is new goes elsewhere until it has answered.
    *_, losses, seconds = rows_of(engine, 4, trajectories=trajectories)
    assert seconds < 0.5 and np.sum(np.isnan(losses)) == 4
    *_, losses, seconds = rows_of(engine, 2)
    assert seconds < 0.5 and np.all(np.isfinite(losses))
    (tmp_path / f"sleep-{slow}").unlink()
    wait_until(lambda: rows_of(engine, 2) and not engine.stage._crew.members[0].overdue)
    (tmp_path / str(slow)).unlink()
    rows_of(engine, 6)
    assert (tmp_path / str(slow)).exists()
    assert pids(engine) == [slow, fast] and engine.traffic.restarts == 0


def test_states_that_are_late_are_run_by_others(start, tmp_path):
    engine = start(Batched(folder=str(tmp_path)), 2, patience=1.0)
    _, undisturbed, _ = rows_of(engine, 4)
    stuck, fast = pids(engine)
    (tmp_path / f"sleep-{stuck}").write_text("60")
    _, losses, seconds = rows_of(engine, 4)
    assert 0.5 <= seconds < 1.0
    np.testing.assert_array_equal(losses, undisturbed)
    # It is of no more use, and soon replaced.
    wait_until(lambda: rows_of(engine, 4) and stuck not in pids(engine))
    wait_until(lambda: rows_of(engine, 4) and len(pids(engine)) == 2)
    assert engine.traffic.restarts == 1 and engine.traffic.lost_rows == 0
    assert "it had not answered for 3 s" in engine.failures[-1]


def test_bytes_are_counted(shared):
    for kind, engine in shared.items():
        before = engine.traffic
        trajectories, *_ = rows_of(engine, 5, 3)
        running = 10 - int(np.sum(trajectories.over))
        rows_of(engine, 5, 3, trajectories)
        # Two parameters in single precision, the clock, the seed of the start, and then two
        # numbers in double precision and three more seeds, or a stamp and whose row it is.
        one_way = 2 * 4 + 4 + 8 + (2 * 8 + 3 * 8 if kind == "host" else 4 + 2 * 4)
        other_way = (2 * 8 if kind == "host" else 4) + 1 + 8
        assert engine.traffic.bytes_out - before.bytes_out == (10 + running) * one_way
        assert engine.traffic.bytes_in - before.bytes_in == (10 + running) * other_way
        assert engine.traffic.stretches - before.stretches == 2
        assert f"bytes_out={engine.traffic.bytes_out}" in repr(engine.traffic)


def test_a_failure_on_an_actor_comes_back(start):
    problem = Simulated(limit=0.85)
    here, there = unspool.HostEngine(problem), start(problem, 2)
    one, other = (training(e, unspool.NRES(6, 3, 0.3), throw=False) for e in (here, there))
    assert [record.dropped for record in one] == [record.dropped for record in other]
    assert sum(record.dropped for record in other) > 0
    np.testing.assert_array_equal(one[-1].params, other[-1].params)
    assert "ArithmeticError: gone too far" in there.failures[-1]
    assert there.stage.failures.count == here.stage.failures.count
    assert there.traffic.lost_rows == 0


@dataclasses.dataclass(frozen=True)
class StaysAtHome(Simulated):
    def __setstate__(self, state):
        raise LookupError("not here")


def test_actors_that_cannot_be_started_are_told_of(start):
    with pytest.raises(Exception, match="no actor could be started(.|\n)*LookupError: not here"):
        training(start(StaysAtHome(), 1))


def test_misuse_is_named(monkeypatch):
    with pytest.raises(ValueError, match="num_actors must be at least 1, or None, got 0"):
        unspool.RayEngine(Batched(), 0)
    with pytest.raises(ValueError, match="patience must be a positive number of seconds, got 0"):
        unspool.RayEngine(Batched(), patience=0)
    with pytest.raises(ValueError, match="problem must be an instance of AbstractHostProblem"):
        unspool.RayEngine(Batched)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "unspool\[ray\]"'):
        unspool.RayEngine(Batched())


JOINS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import unspool
from test_ray import Simulated, pids, training, wait_until

engine = unspool.RayEngine(Simulated(), address=sys.argv[2])
*_, here = training(unspool.HostEngine(Simulated()))
*_, there = training(engine)
np.testing.assert_array_equal(here.params, there.params)
print(len(pids(engine)), flush=True)
input()
wait_until(lambda: training(engine) and len(pids(engine)) == 2)
print(len(pids(engine)), flush=True)
"""


@pytest.fixture
def run():
    """Starts programs in the background, and ends them."""
    programs = []

    def begin(*command, **options):
        options |= {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        programs.append(subprocess.Popen(command, **options))
        return programs[-1]

    yield begin
    for program in reversed(programs):
        program.terminate()
        program.communicate(timeout=30)


def test_a_cluster_is_joined_and_grows(run, tmp_path):
    """By its address; and where no number is asked for, the CPU of a new machine is used too."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus=1"]
    command += ["--object-store-memory=80000000", "--disable-usage-stats"]
    head = ["--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false"]
    head = run(*command, *head, f"--temp-dir={tmp_path}")
    for line in head.stdout:
        if "will now block" in line:
            break
    joined = run(sys.executable, "-c", JOINS, str(Path(__file__).parent), address)
    assert joined.stdout.readline() == "1\n"
    run(*command, f"--address={address}")
    joined.stdin.write("go on\n")
    joined.stdin.flush()
    assert joined.stdout.readline() == "2\n"
    assert joined.wait(30) == 0
