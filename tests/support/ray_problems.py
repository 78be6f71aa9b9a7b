"""Problems that the actors of a cluster run, and what is asked of an engine that has some."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import unspool
from support.limits import HANG

HORIZON = 12


def halves(seeds):
    """The two words of seeds, as numbers from 0 to 1."""
    seeds = np.asarray(seeds, np.uint64)
    return (seeds & np.uint64(2**32 - 1)) / 2**32, (seeds >> np.uint64(32)) / 2**32


def take_part(folder):
    """Leaves the number of this process there, and goes no further while it is told to wait."""
    if folder:
        Path(folder, str(os.getpid())).touch()
        while Path(folder, f"wait-{os.getpid()}").exists():
            time.sleep(0.02)


@dataclasses.dataclass(frozen=True)
class Batched(unspool.AbstractHostProblem):
    """Two coupled numbers, with noise at the start and in every step, and early ends."""

    horizon: int = HORIZON
    folder: str = ""
    end: float = 1.2
    seconds: float = 0.0

    def init_params(self, *, key):
        return jnp.array([0.5, 0.2])

    def init_state(self, params, *, seeds):
        return np.stack([halves(seeds)[0], params[:, 0]], 1).astype(float)

    def step(self, params, state, t, *, seeds):
        take_part(self.folder)
        time.sleep(self.seconds)
        (x, y), (a, b), (low, high) = state.T, params.T, halves(seeds)
        x, y = np.sin(a * y + x) + low, b * x + high
        return np.stack([x, y], 1), x**2 + y**2 + 0.1 * t

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: state[:, 1] > self.end)


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

    def actions(self, simulators, params, t):
        take_part(self.folder)
        return params

    def step(self, simulator, action):
        loss = simulator.walk(*action)
        if simulator.x > self.limit:
            raise ArithmeticError("gone too far")
        return loss, simulator.y > self.end


@dataclasses.dataclass(frozen=True)
class Aimed(Simulated):
    """A parameter and a random goal: the gradient is `params - 1/2`, smoothed or not."""

    horizon: int = 4

    def init_params(self, *, key):
        return jnp.array([0.8])

    def step(self, simulator, action):
        simulator.steps += 1
        return 0.5 * (action[0] - simulator.x) ** 2, False


@dataclasses.dataclass(frozen=True)
class Careless(Batched):
    """Computes with JAX, and forgets the losses of its last steps."""

    def step(self, params, state, t, *, seeds):
        state, losses = super().step(params, state, t, seeds=seeds)
        # More than one thread could do at once, were it not alone.
        parts = jax.jit(lambda x: [jnp.sin(x * i) @ x.T for i in range(20)])
        many = np.asarray(sum(parts(jnp.ones((300, 300)))))
        return state, None if np.any(t > 8) else losses + 0 * many[0, 0]


@dataclasses.dataclass(frozen=True)
class StaysAtHome(Simulated):
    def __setstate__(self, state):
        raise LookupError("not here")


def pids(engine) -> list[int]:
    """The processes that have run the rows of the last segment."""
    return sorted(int(process.partition(" ")[0]) for process in engine.executor.processes)


def is_running(pid) -> bool:
    """True for a process of this machine that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def kill_during(engine, segments):
    """Kills a process in the midst of its rows, once there have been so many segments; to be
    joined."""

    def kill():
        wait_until(lambda: engine.traffic.segments >= segments)
        pid = pids(engine)[0]
        folder = Path(engine.problem.folder)
        # It leaves its number before it looks whether it is to wait.
        (folder / f"wait-{pid}").touch()
        (folder / str(pid)).unlink(missing_ok=True)
        wait_until((folder / str(pid)).exists)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def rows_of(engine, num_workers, num_steps=3, trajectories=None):
    """One segment of antithetic pairs, begun anew unless they are given; and its seconds."""
    params = jnp.array([0.5, 0.2])
    shift = jnp.stack([jnp.full((num_workers, 2), 0.1), jnp.full((num_workers, 2), -0.1)])
    if trajectories is None:
        keys = jax.random.split(jax.random.key(1), num_workers)
        trajectories = engine.start(params, keys, shift)
    began = time.monotonic()
    trajectories, losses = engine.unroll(params, trajectories, num_steps, shift)
    losses = np.array(losses)
    return trajectories, losses, time.monotonic() - began


def at_work(engine) -> set[int]:
    """The processes that have run rows since this was last asked."""
    found = {path for path in Path(engine.problem.folder).iterdir() if path.name.isdigit()}
    for path in found:
        path.unlink()
    return {int(path.name) for path in found} - {os.getpid()}


def wait_for_actors(engine, number):
    wait_until(lambda: rows_of(engine, 2) and len(pids(engine)) == number)
