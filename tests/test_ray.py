"""The actors of a cluster give the bits of one process, and what happens when they do not."""

import dataclasses
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.limits import HANG
from support.ray_problems import (
    HORIZON,
    Aimed,
    Batched,
    Careless,
    Simulated,
    StaysAtHome,
    at_work,
    is_running,
    kill_during,
    pids,
    rows_of,
    wait_for_actors,
    wait_until,
)
from support.slow import slow
from unspool._engine.segment import Segment

# Ray reads its settings when it is first imported, which is left to the engine.
installed = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not installed, reason="Ray is not installed"),
]

TIMEOUT = 5.0
"""Seconds within which an actor answers that is not kept from it."""

ESTIMATORS = {
    "NRES": unspool.NRES(5, 3, 0.3),
    "PES": unspool.PES(5, 3, 0.3),
    "TruncatedES": unspool.TruncatedES(5, 3, 0.3),
}

KINDS = {"host": Batched(), "simulators": Simulated()}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module", autouse=True)
def small_ray():
    """A Ray that thinks it has eight CPUs, which the engines find."""
    with pytest.MonkeyPatch.context() as patch:
        # With a token that is nowhere but here: nothing is written to anybody's home.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        unspool.RayEngine(Batched(), 8)
        for name in ("_LONG_STARTUP", "_MOST_STARTUP"):
            patch.setattr(f"unspool._engine.ray.processes.{name}", HANG)
        yield
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """An engine for each kind: to start actors takes longest of all that is done here."""
    engines = {}
    for kind, problem in KINDS.items():
        problem = dataclasses.replace(problem, folder=str(tmp_path_factory.mktemp(kind)))
        engines[kind] = unspool.RayEngine(problem, 1)
    yield engines
    for engine in engines.values():
        engine.close()


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


def training(engine, estimator=ESTIMATORS["NRES"], num_updates=12, **options):
    options = {"key": jax.random.key(3), "log_every": 4} | options
    records = unspool.train(engine, estimator, optax.sgd(0.01), num_updates=num_updates, **options)
    return list(records)


@pytest.mark.parametrize("kind", ["host", slow("simulators")])
def test_the_bits_are_those_of_one_process_and_who_joins_later_takes_part(kind, shared):
    engine, here = shared[kind], unspool.HostEngine(KINDS[kind])
    before = engine.traffic
    estimators = [e for e in ESTIMATORS.values() if kind == "host" or not e.plan(12).needs_copies]
    expected = [training(here, estimator) for estimator in estimators]
    _, episodes, _ = rows_of(here, 7, HORIZON)
    teams = []
    for num_actors in (1, 2):
        engine.resize(num_actors)
        wait_for_actors(engine, num_actors)
        teams.append(set(pids(engine)))
        at_work(engine)
        for estimator, records in zip(estimators, expected, strict=True):
            for one, other in zip(records, training(engine, estimator), strict=True):
                np.testing.assert_array_equal(one.params, other.params)
                assert (one.loss, one.useful_steps) == (other.loss, other.useful_steps)
                assert other.dropped == 0
        assert at_work(engine) == teams[-1]
        np.testing.assert_array_equal(rows_of(engine, 7, HORIZON)[1], episodes)
    assert teams[0] < teams[1]
    assert engine.traffic.lost_rows == before.lost_rows
    assert engine.traffic.restarts == before.restarts


def test_an_estimator_that_copies_states_is_refused(shared):
    with pytest.raises(ValueError, match="TruncatedES has trajectories go on"):
        training(shared["simulators"], ESTIMATORS["TruncatedES"])


@every_kind
def test_bytes_are_counted(kind, shared):
    engine = shared[kind]
    # Should actors have to be told of episodes given up by other tests, it is done with this.
    rows_of(engine, 5, 3)
    before = engine.traffic
    trajectories, *_ = rows_of(engine, 5, 3)
    running = 10 - int(np.sum(trajectories.arms.done))
    rows_of(engine, 5, 3, trajectories)
    # Two parameters in single precision, the clock, the seed of the start; and then two numbers
    # in double precision and three more seeds, or a stamp and whose row it is. Whether it is over,
    # its loss and the number of steps come back from all.
    out = 2 * 4 + 4 + 8 + (2 * 8 + 3 * 8 if kind == "host" else 8 + 2 * 4)
    back = (2 * 8 if kind == "host" else 8) + 1 + 8 + 4
    assert engine.traffic.bytes_out - before.bytes_out == (10 + running) * out
    assert engine.traffic.bytes_in - before.bytes_in == (10 + running) * back
    assert engine.traffic.segments - before.segments == 2
    assert f"bytes_out={engine.traffic.bytes_out}" in repr(engine.traffic)


@pytest.mark.parametrize("num_actors", [slow(2), 1])
def test_states_outlive_their_actor(shared, num_actors):
    """Whoever it is that dies, and whenever, the last one too: the bits are those of an
    undisturbed run."""
    engine = shared["host"]
    engine.resize(num_actors)
    wait_for_actors(engine, num_actors)
    options = {"num_updates": 300, "log_every": 300}
    (undisturbed,) = training(engine, **options)
    before = engine.traffic
    killer = kill_during(engine, before.segments + 60)
    (disturbed,) = training(engine, **options)
    killer.join()
    np.testing.assert_array_equal(undisturbed.params, disturbed.params)
    assert undisturbed.loss == disturbed.loss
    assert disturbed.result == unspool.RESULTS.successful and disturbed.dropped == 0
    assert engine.traffic.lost_rows == 0
    assert engine.traffic.restarts - before.restarts == 1
    assert "has been given up" in engine.failures[-1]


def test_simulators_are_lost_with_their_actor_and_counted(shared):
    engine = shared["simulators"]
    engine.resize(2)
    wait_for_actors(engine, 2)
    before, team = engine.traffic, set(pids(engine))
    killer = kill_during(engine, before.segments + 60)
    records = training(engine, unspool.NRES(8, 3, 0.3), num_updates=600, log_every=50)
    killer.join()
    assert len(records) == 12
    usable = (unspool.RESULTS.successful, unspool.RESULTS.dropped_workers)
    assert all(record.result in usable for record in records)
    pairs = zip(records, records[1:], strict=False)
    assert all(np.any(first.params != second.params) for first, second in pairs)
    dropped = sum(record.dropped for record in records)
    # It had half of eight workers, give or take those that have just begun.
    assert 1 <= dropped <= 5
    lost = engine.traffic.lost_rows - before.lost_rows
    # An arm that is over already cannot be lost.
    assert dropped <= lost <= 2 * dropped
    assert "rows of 16 were lost: actor" in " ".join(engine.failures)
    wait_for_actors(engine, 2)
    assert engine.traffic.restarts - before.restarts == 1
    assert len(set(pids(engine)) - team) == 1


@pytest.mark.slow
def test_unbiased_after_actors_have_died(start):
    engine = start(Aimed(), 2)
    estimator = unspool.NRES(8, 2, 0.3)
    params = jnp.array([0.8])
    state = estimator.init(engine, params, key=jax.random.key(7))
    grads, dropped = [], 0
    for i in range(420):
        if i in (20, 200):
            wait_for_actors(engine, 2)
            os.kill(pids(engine)[0], signal.SIGKILL)
        estimate, state = estimator.estimate(engine, params, state)
        dropped += int(estimate.stats["dropped"])
        grads.append(float(estimate.grad[0]))
    assert dropped > 0 and engine.traffic.lost_rows == 2 * dropped
    # An episode lasts two estimates: means over ten of them are independent for all purposes.
    means = np.reshape(grads[20:], (-1, 10)).mean(1)
    error = means.std(ddof=1) / np.sqrt(means.size)
    z = lambda exact: abs(means.mean() - exact) / error
    assert z(0.8 - 0.5) < 4
    assert z(0.8 - 0.4) > 4


@pytest.mark.slow
def test_a_slow_actor_costs_its_rows_and_no_more_than_the_timeout(start, tmp_path):
    engine = start(Simulated(folder=str(tmp_path), end=np.inf), 2, timeout=TIMEOUT)
    trajectories, losses, _ = rows_of(engine, 4)
    assert np.all(np.isfinite(losses))
    slow, fast = pids(engine)
    told = tmp_path / f"wait-{slow}"
    told.touch()
    trajectories, losses, seconds = rows_of(engine, 4, trajectories=trajectories)
    assert seconds >= TIMEOUT
    assert np.sum(np.isnan(losses), axis=1).tolist() == [2, 2]
    assert f"4 rows of 8 were lost: actor {slow} on " in engine.failures[-1]
    assert "has not answered within 5 s" in engine.failures[-1]
    assert engine.traffic.lost_rows == 4
    # What has been begun there fails at once; what is new goes elsewhere until it has answered.
    *_, losses, _ = rows_of(engine, 4, trajectories=trajectories)
    assert np.sum(np.isnan(losses)) == 4
    assert "the actor of their episodes is dead or stuck" in engine.failures[-1]
    at_work(engine)
    *_, losses, _ = rows_of(engine, 2)
    assert np.all(np.isfinite(losses)) and at_work(engine) == {fast}
    told.unlink()
    wait_until(lambda: rows_of(engine, 2) and at_work(engine) == {slow, fast})
    assert engine.traffic.lost_rows == 8 and engine.traffic.restarts == 0


@pytest.mark.slow
def test_states_that_are_late_are_run_by_others(start, tmp_path, monkeypatch):
    monkeypatch.setattr("unspool._engine.ray.processes._STUCK", 2.0)
    # Slow enough for each process to get a share of the rows.
    engine = start(Batched(folder=str(tmp_path), seconds=0.05), 2, timeout=TIMEOUT)
    wait_for_actors(engine, 2)
    _, undisturbed, _ = rows_of(engine, 4)
    stuck, _ = pids(engine)
    (tmp_path / f"wait-{stuck}").touch()
    _, losses, seconds = rows_of(engine, 4)
    assert seconds >= TIMEOUT / 2
    np.testing.assert_array_equal(losses, undisturbed)
    # It is of no more use, and replaced after a while.
    wait_until(lambda: rows_of(engine, 4) and not is_running(stuck))
    wait_for_actors(engine, 2)
    np.testing.assert_array_equal(rows_of(engine, 4)[1], undisturbed)
    assert engine.traffic.restarts == 1 and engine.traffic.lost_rows == 0
    assert "it had not answered for 10 s" in engine.failures[-1]


def test_episodes_stay_and_new_ones_go_where_there_are_the_fewest_rows(small_ray):
    from unspool._engine.ray.actors import affinity

    numbers = np.array([2, 2, 2, 2, 5, 5, 0, 0, 7, 7, 0])
    seeds, t = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]), np.array([3] * 6 + [0] * 5)
    others = dict.fromkeys(("params", "done", "step_seeds", "arm", "worker"))
    segment = Segment(state=numbers * 2**40 + 9, t=t, start_seeds=seeds, **others)
    found = affinity(segment, np.arange(11), [2, 3])
    # Of those that are under way some are at home with an actor that is gone.
    np.testing.assert_array_equal(found, [2, 2, 2, 2, 5, 5, 3, 3, 3, 3, 2])
    np.testing.assert_array_equal(affinity(segment, np.array([0, 10]), [2, 3]), [2, 3])


def test_a_failure_on_an_actor_comes_back(start):
    problem = Simulated(limit=0.85)
    here, there = unspool.HostEngine(problem), start(problem, 1)
    one, other = (training(e, unspool.NRES(6, 3, 0.3), throw=False) for e in (here, there))
    assert [record.dropped for record in one] == [record.dropped for record in other]
    assert sum(record.dropped for record in other) > 0
    np.testing.assert_array_equal(one[-1].params, other[-1].params)
    assert "ArithmeticError: gone too far" in there.failures[-1]
    assert there.executor.failures.count == here.executor.failures.count
    assert there.traffic.lost_rows == 0


@pytest.mark.slow
def test_actors_compute_with_jax_and_a_mistake_there_is_one_sentence(start):
    engine, here = start(Careless(end=9.0), 1), unspool.HostEngine(Batched(end=9.0))
    trajectories, losses, _ = rows_of(engine, 3, 9)
    np.testing.assert_array_equal(losses, rows_of(here, 3, 9)[1])
    with pytest.raises(ValueError) as caught:
        rows_of(engine, 3, 3, trajectories)
    assert str(caught.value) == (
        "step of Careless must return one loss for each row, real numbers of shape (6,), got None "
        "of type NoneType for 6 rows"
    )
    assert type(caught.value).__name__ == "MisuseError"
    # It is no failure of the rows, and the actor is as good as before.
    assert engine.traffic.lost_rows == 0
    np.testing.assert_array_equal(rows_of(engine, 3, 9)[1], losses)


@every_kind
def test_actors_count_steps(kind, shared, monkeypatch):
    counts = []
    for engine in (shared[kind], unspool.HostEngine(KINDS[kind])):
        advance = engine.executor.advance
        keep = lambda segment, advance=advance: counts.append(advance(segment)) or counts[-1]
        monkeypatch.setattr(engine.executor, "advance", keep)
        rows_of(engine, 7, HORIZON)
    there, here = (outcome.taken for outcome in counts)
    np.testing.assert_array_equal(there, here)
    assert here.max() == HORIZON and (here.min() < HORIZON) == (kind == "host")


def test_actors_that_cannot_be_started_are_told_of(start):
    with pytest.raises(Exception, match="no process could be started(.|\n)*LookupError: not here"):
        rows_of(start(StaysAtHome(), 1), 2)


def test_misuse_is_named(monkeypatch):
    with pytest.raises(ValueError, match="num_actors must be an integer of at least 1, got 0"):
        unspool.RayEngine(Batched(), 0)
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds, got 0.0"):
        unspool.RayEngine(Batched(), timeout=0.0)
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got 0"):
        unspool.RayEngine(Batched(horizon=0))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "unspool\[ray\]"'):
        unspool.RayEngine(Batched())


JOINS = """
import sys
sys.path.insert(0, sys.argv[1])
import unspool
from support.ray_problems import Batched, pids, rows_of, wait_for_actors

sys.stdin.readline()
engine = unspool.RayEngine(Batched(), address=sys.argv[2])
_, here, _ = rows_of(unspool.HostEngine(Batched()), 4)
_, there, _ = rows_of(engine, 4)
assert (here == there).all()
print(len(pids(engine)), flush=True)
wait_for_actors(engine, 2)
print(len(pids(engine)), flush=True)
"""


@pytest.fixture
def run():
    """Starts programs in the background, and ends them."""
    programs = []

    def begin(*command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        programs.append(subprocess.Popen(command, text=True, **pipes))
        return programs[-1]

    yield begin
    for program in programs:
        program.terminate()
    for program in programs:
        program.communicate(timeout=HANG)


@pytest.mark.slow
def test_a_cluster_is_joined_and_grows(run):
    """By its address; and where no number is asked for, the CPU of a new machine is used too."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    joined = run(sys.executable, "-c", JOINS, str(Path(__file__).parent), address)
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    command += ["--object-store-memory=80000000", "--disable-usage-stats"]
    port = address.partition(":")[2]
    head = run(*command, "--head", f"--port={port}", "--include-dashboard=false")
    assert any("will now block" in line for line in head.stdout)
    joined.stdin.write("go on\n")
    joined.stdin.flush()
    assert joined.stdout.readline() == "1\n"
    run(*command, f"--address={address}")
    assert joined.stdout.readline() == "2\n"
    assert joined.wait(HANG) == 0
