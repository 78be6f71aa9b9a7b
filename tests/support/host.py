"""Problems on the host, and one of them in JAX, that the tests of the host run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool

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

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: (state["x"][1] > 1.2) & (state["steps"] > 4))

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

    @property
    def episodes(self):
        return unspool.Episodes(
            is_done=lambda state: (state["x"][:, 1] > 1.2) & (state["steps"] > 4)
        )

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
    actions_fail: bool = False

    def init_params(self, *, key):
        return jnp.array([0.4, 0.2])

    def make(self):
        return Level()

    def reset(self, simulator, params, *, seed):
        simulator.reset()

    def actions(self, simulators, params, t):
        if self.actions_fail:
            raise ArithmeticError("no action")
        inflow = params[:, 0] + params[:, 1] * t / self.horizon
        return np.where(t < self.filling, inflow, -self.drain)

    def step(self, simulator, action):
        loss = simulator.move(action)
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

    @property
    def episodes(self):
        return unspool.Episodes(
            is_done=lambda state: (state[:, 1] >= self.filling) & (state[:, 0] <= 0)
        )


def last_record(engine, estimator, num_updates=9, **options):
    options = {"key": jax.random.key(3), "log_every": 3} | options
    *_, record = unspool.train(
        engine, estimator, optax.sgd(0.01), num_updates=num_updates, **options
    )
    return record
