"""What float32, half precision, failures and chaos do to estimates: figures that the docs quote.

    .venv/bin/python benchmarks/edges.py [FILE.json] [--parts sums chaos ...] [--small]

Takes five minutes; `--small` shows in one that all of it runs, and its figures are of no use. Each
figure has the standard error of the jackknife over seeds. The parts:

- `sums`: by how much an estimate of 100 pairs, from losses of 100, is off that from the float64 sum
  of the same float32 losses, as a share of it, with the library's sums and with plain ones.
- `half-precision`: estimates with parameters of 1 in bfloat16; their mean along the exact gradient
  over its length, and their variance over that with parameters in float32.
- `few-workers`: half of the workers fail in each window, by chance; the mean of the updates made
  over the exact gradient, parameter by parameter, and the share of updates that are skipped.
- `failures-by-noise`: pairs fail whose perturbation of the first parameter is beyond c sigma; the
  mean over the exact gradient, parameter by parameter.
- `chaos`: estimates on Lorenz where training starts, and derivatives, which are in float64.
"""

import argparse
import json
import math
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import unspool
from unspool import extend, problems
from unspool._describe import environment
from unspool._estimator.survival import Survival
from unspool.problems._closed_form import flatten

KEY = jax.random.key(0)
WINDOW, NUM_WINDOWS = 5, 4
FAILING = problems.LinearQuadratic(WINDOW * NUM_WINDOWS, size=2, num_params=2)
WARMUP_EPISODES = 6000
"""So many, and 120 of each worker at least, are over before weights count as settled."""


class Losses(unspool.AbstractProblem):
    """The loss of step t is `bases[t]` plus the parameter, rounded once."""

    bases: jax.Array
    horizon: int

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.array(0)

    def step(self, params, state, t, *, key):
        return state, self.bases[t] + params


class Failing(extend.AbstractWrapper):
    """Fails with a probability in each window, and wherever the first parameter is too far off."""

    chance: float = 0.0
    most: float = math.inf

    @property
    def inner(self):
        return FAILING

    def step(self, params, state, t, *, key):
        state, loss = self.inner.step(params, state, t, key=key)
        by_chance = (t % WINDOW == 0) & jax.random.bernoulli(key, self.chance)
        return state, jnp.where(by_chance | (jnp.abs(params[0]) > self.most), jnp.nan, loss)


class Restarting(Failing):
    """Could end early, and never does: a worker that fails does not wait."""

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: jnp.array(False))


@eqx.filter_jit
def run_chains(problem, estimator, params, num_chains, num_updates, weighs=True):
    """Each chain's estimates, and which of them are made by anybody."""

    def update(state, _):
        if not weighs:
            state = eqx.tree_at(lambda state: state.survival, state, Survival.of(NUM_WINDOWS))
        estimate, state = estimator.estimate(problem, params, state)
        return state, (estimate.grad.astype(float), jnp.isfinite(estimate.loss))

    def chain(key):
        state = estimator.init(problem, params, key=key)
        return jax.lax.scan(update, state, length=num_updates)[1]

    return jax.lax.map(chain, jax.random.split(KEY, num_chains))


def over_seeds(statistic, *arrays):
    """A statistic of arrays whose first axis is that of seeds."""
    arrays = [np.asarray(x, np.float64) for x in arrays]
    count = len(arrays[0])
    without = [statistic(*(np.delete(x, i, axis=0) for x in arrays)) for i in range(count)]
    error = np.sqrt((count - 1) * np.var(without, axis=0))
    value = np.asarray(statistic(*arrays))
    return {"value": value.tolist(), "standard_error": error.tolist(), "num_seeds": count}


def measure_sums(seeds, fewer, num_pairs=100, sigma=1e-3):
    unroll = eqx.filter_jit(lambda engine, *arguments: engine.unroll(*arguments)[1])
    z = np.random.default_rng(0).normal(size=seeds * num_pairs)
    shifts, params = (sigma * np.stack([z, -z])).astype(np.float32), jnp.array(0.0)

    def estimates(losses):
        up, down = np.reshape(np.asarray(losses, np.float64), shifts.shape)
        return np.mean(((up - down) * z).reshape(seeds, -1), axis=1)

    for num_steps in (1000 // fewer, 10_000 // fewer, 100_000 // fewer):
        bases = np.full(num_steps, 100, np.float32)
        engine = unspool.LocalEngine(Losses(jnp.array(bases), num_steps))
        start = engine.start(params, jax.random.split(KEY, z.size), jnp.array(shifts))
        exact = estimates([np.sum(bases + x, dtype=np.float64) for x in shifts.ravel()])
        sums = {
            "library": unroll(engine, params, start, num_steps, jnp.array(shifts)),
            "plain": add_one_by_one(bases, shifts),
        }
        off = {name: np.abs(estimates(x) / exact - 1) for name, x in sums.items()}
        figures = {name: over_seeds(np.mean, x) for name, x in off.items()}
        worst = {f"{name}, worst": {"value": x.max().item()} for name, x in off.items()}
        yield f"{num_steps} steps", figures | worst


@jax.jit
def add_one_by_one(bases, shifts):
    one = lambda total, base: (total + (base + shifts), None)
    return jax.lax.scan(one, jnp.zeros(shifts.shape), bases)[0]


def measure_half_precision(seeds, fewer):
    problem, ones = problems.LinearQuadratic(WINDOW * NUM_WINDOWS), jnp.ones(4)
    exact = flatten(problem.exact_gradient(ones, unspool.Target()))
    along = lambda grads: np.mean(grads @ exact) / (exact @ exact)
    variance = lambda grads: np.sum(np.var(grads, axis=(0, 1)))
    ratio = lambda grads, others: variance(grads) / variance(others)
    for sigma in (0.001, 0.003, 0.01):
        for kind in (unspool.NRES, unspool.PES):
            setting = seeds, 1000 // fewer
            estimator = kind(1000, WINDOW, sigma)
            half, _ = run_chains(problem, estimator, ones.astype("bfloat16"), *setting)
            full, _ = run_chains(problem, estimator, ones, *setting)
            figures = {"mean": over_seeds(along, half), "variance": over_seeds(ratio, half, full)}
            yield f"{kind.__name__}, sigma {sigma}", figures


def relative(grads, made):
    """The mean of the updates made over the exact gradient."""
    exact = flatten(FAILING.exact_gradient(jnp.zeros(2), unspool.Target()))
    return np.sum(grads * made[..., np.newaxis], axis=(0, 1)) / np.sum(made) / exact


def measure_few_workers(seeds, fewer):
    def run(problem, num_workers, *options):
        return run_chains(problem, unspool.RTRL(num_workers, WINDOW), jnp.zeros(2), *options)

    for num_workers in (2, 10, 50, 200):
        skip = NUM_WINDOWS * WARMUP_EPISODES // min(num_workers, 50) // fewer
        grads, made = run(Failing(0.5), num_workers, seeds, skip + 20_000 // fewer)
        grads, made = grads[:, skip:], made[:, skip:]
        figures = {"mean": over_seeds(relative, grads, made), "skipped": over_seeds(np.mean, ~made)}
        yield f"{num_workers} workers", figures
    first = run(Failing(0.5), 200, 10 * seeds, 20)
    yield "200 workers, first 20 updates", {"mean": over_seeds(relative, *first)}
    for chance in (0.05, 0.5):
        found = run(Restarting(chance), 50, seeds, 5000 // fewer, False)
        yield f"without weights, {chance} fail", {"mean": over_seeds(relative, *found)}


def measure_failures_by_noise(seeds, fewer, sigma=0.1):
    for c in (1, 2, 3):
        for kind in (unspool.NRES, unspool.PES):
            problem, estimator = Failing(most=c * sigma), kind(1000, WINDOW, sigma)
            found = run_chains(problem, estimator, jnp.zeros(2), seeds, 1000 // fewer)
            yield f"{kind.__name__}, c {c}", {"mean": over_seeds(relative, *found)}


def measure_chaos(seeds, fewer):
    for horizon in (500, 2000):
        with jax.enable_x64(True):
            problem, estimator = problems.Lorenz(horizon), unspool.BPTT(1)
            params = problem.init_params(key=KEY)
            state = estimator.init(problem, params, key=KEY)
            found = estimator.estimate(problem, params, state)[0].grad.tolist()
        yield f"derivative, {horizon} steps", {"value": {"value": found}}
    problem = problems.Lorenz()
    params = problem.init_params(key=KEY)
    mean, deviation = (lambda grads, of=of: of(grads, axis=(0, 1)) for of in (np.mean, np.std))
    for sigma in (0.04, 0.004):
        for kind in (unspool.NRES, unspool.PES):
            estimator = kind(200, 100, sigma)
            grads, _ = run_chains(problem, estimator, params, seeds, 1000 // fewer)
            figures = {"mean": over_seeds(mean, grads), "deviation": over_seeds(deviation, grads)}
            yield f"{kind.__name__}(200, 100, {sigma})", figures


PARTS = {
    "sums": measure_sums,
    "half-precision": measure_half_precision,
    "few-workers": measure_few_workers,
    "failures-by-noise": measure_failures_by_noise,
    "chaos": measure_chaos,
}


def show(name, figure):
    values, errors = (np.atleast_1d(figure.get(x, 0.0)) for x in ("value", "standard_error"))
    error = lambda x: f" ± {x:.1g}" if x else ""
    each = [f"{value:.4g}{error(x)}" for value, x in np.broadcast(values, errors)]
    return f"{name} {', '.join(each)}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    # What counts of steps and updates are divided by.
    seeds, fewer = (2, 100) if options.small else (20, 1)
    found = {"environment": environment()}
    for part in options.parts:
        found[part], began = {}, time.process_time()
        for case, figures in PARTS[part](seeds, fewer):
            found[part][case] = figures
            print(f"{time.process_time() - began:6.0f} s  {part}: {case}", flush=True)
    for part in options.parts:
        print(f"\n{part}")
        for case, figures in found[part].items():
            print(f"{case:30}", "; ".join(show(*figure) for figure in figures.items()))
    if options.file:
        options.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
