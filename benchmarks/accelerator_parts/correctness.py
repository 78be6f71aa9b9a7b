"""Every exported estimator on the accelerator against the same one on the CPU in float64."""

import contextlib
import inspect
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import unspool

from .part import Column, Part, in_parallel
from .same_draws import same_draws

# Rounding that is as good as that of the CPU, in other places: no more than so many times as much.
MOST = 10.0
# What a single rounding may do, where the CPU happens to make none.
LEAST = 2.0**-24
WORKERS, WINDOW, PERIOD, SIGMA = 8, 3, 6, 0.1
FIELDS = {"num_workers": WORKERS, "window": WINDOW, "period": PERIOD, "sigma": SIGMA}


class Recurrent(unspool.AbstractProblem):
    """A recurrent network that follows noisy inputs: products of matrices, tanh, random data."""

    units: int = 32
    batch: int = 16
    horizon: int = 12

    def init_params(self, *, key):
        generator = np.random.default_rng(0)
        draw = lambda *shape: jnp.asarray(generator.normal(size=shape).astype(np.float32), float)
        scale = self.units**-0.5
        return {"inner": scale * draw(self.units, self.units), "bias": 0.1 * draw(self.units)}

    def init_state(self, params, *, key):
        return 0.5 * jax.random.normal(key, (self.batch, self.units))

    def step(self, params, state, t, *, key):
        inputs = jax.random.normal(key, (self.batch, self.units))
        state = jnp.tanh(state @ params["inner"] + params["bias"][None] + 0.3 * inputs)
        return state, jnp.mean((state - 0.1 * inputs) ** 2)


def exported():
    """All estimators that the library exports."""
    return {
        name: value
        for name, value in sorted(vars(unspool).items())
        if inspect.isclass(value)
        and issubclass(value, unspool.AbstractEstimator)
        and not inspect.isabstract(value)
    }


def build(kind):
    """An estimator of this class, by the names of its arguments."""
    known = FIELDS
    if "estimator" in inspect.signature(kind).parameters:
        known = known | {"estimator": build(unspool.NRES), "workers_at_once": 3}
    wanted = inspect.signature(kind).parameters
    unknown = [n for n, p in wanted.items() if p.default is p.empty and n not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} wants {unknown[0]}, which FIELDS has no value for")
    return kind(**{name: value for name, value in known.items() if name in wanted})


def measure(settings, before, left):
    problem = Recurrent(3, 2, 12) if settings.small else Recurrent()
    cases = {name: lambda left, kind=kind: one(problem, kind) for name, kind in exported().items()}
    # Patches are seen by all threads, so that they stand around all of them.
    with same_draws():
        yield from in_parallel(cases, before, left)


def one(problem, kind):
    estimator, cpu = build(kind), jax.devices("cpu")[0]
    with jax.enable_x64(True):
        exact, _ = estimate(problem, estimator, cpu, "highest")
    on_cpu, seconds = estimate(problem, estimator, cpu, "highest")
    here, default = on_cpu, None
    if (device := jax.devices()[0]) != cpu:
        here, seconds = estimate(problem, estimator, device, "highest")
        default, _ = estimate(problem, estimator, device, None)
    yield judge(exact, on_cpu, here, default) | {"first_call_s": seconds}


def estimate(problem, estimator, device, precision):
    """The gradients of an episode's worth of estimates, and the seconds of the first call."""
    number = problem.horizon // WINDOW

    def run(params, key):
        def once(workers, _):
            found, workers = estimator.estimate(problem, params, workers)
            return workers, (ravel_pytree(found.grad)[0], found.stats["dropped"])

        workers = estimator.init(problem, params, key=key)
        return jax.lax.scan(once, workers, length=number)[1]

    began = time.perf_counter()
    with contextlib.ExitStack() as contexts:
        contexts.enter_context(jax.default_device(device))
        if precision is not None:
            contexts.enter_context(jax.default_matmul_precision(precision))
        key = jax.random.key(0)
        grads, dropped = jax.device_get(jax.jit(run)(problem.init_params(key=key), key))
    if np.any(dropped):
        raise ValueError(f"{np.sum(dropped)} workers were dropped, where none should be")
    return np.asarray(grads, np.float64), time.perf_counter() - began


def judge(exact, on_cpu, here, default):
    """Deviations from float64, relative to its norm, and in units of what the CPU's float32 has."""
    deviation = lambda x: float(np.linalg.norm(x - exact) / np.linalg.norm(exact))
    explained = max(deviation(on_cpu), LEAST)
    found = deviation(here)
    row = {
        "deviation": found,
        "float32": explained,
        "units": found / explained,
        "default_deviation": None,
        "default_units": None,
        # A float32 so bad that it explains everything explains nothing.
        "right": bool(found <= MOST * explained and explained < 1e-2),
    }
    if default is not None:
        row["default_deviation"] = deviation(default)
        row["default_units"] = deviation(default) / explained
    return row


PART = Part(
    "correctness",
    "Estimates in float32 against float64 on the CPU, same keys; deviations in units of float32's",
    0.27,
    (
        Column("deviation", "deviation", ".1e"),
        Column("float32", "CPU float32", ".1e"),
        Column("units", "units", ".2f"),
        Column("default_deviation", "default products", ".1e"),
        Column("default_units", "units", ".1f"),
        Column("right", "right"),
        Column("first_call_s", "first call s", ".1f"),
    ),
    measure,
)
