"""What lag costs `NRES`, and what `ReweightedNRES` gains and pays for having none.

    python benchmarks/lag.py FILE.json [--only balancing|lorenz|training] [--seeds N]

- `balancing`: influence balancing with gradient descent, over a grid of learning rates: the
  distance from the optimum -1/6 at the end, for each seed.
- `lorenz`: the loss on trajectories from random starts, along training: of how many seeds its mean
  over 100 updates stays below 53, after how many updates, and its mean over the last 200.
- `training`: what is left of the bias in training, where parameters owe something to the workers'
  own noise: the mean over many trainings of an estimate minus the exact gradient, along the
  gradient and in parts of it.

Parts that are not run keep what the file has. Settings were chosen on seeds from 1000 on.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool
from unspool.extend import Draw
from unspool.problems import InfluenceBalancing, Lorenz, LorenzFromRandomStarts
from unspool.problems.lorenz import TRUE_RATES, lorenz_step

CLIP = 4.0
OPTIMUM, NEAR = -1 / 6, 0.1
RATES = [round(0.001 * 1.5**k, 6) for k in range(13)]
BELOW, EVERY, AVERAGED, NUM_STARTS = 53.0, 20, 5, 512
LORENZ = [(optax.sgd, rate) for rate in (2e-5, 4e-5, 1e-4)]
LORENZ += [(optax.adam, rate) for rate in (0.005, 0.01)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--seeds", type=int, nargs=2, help="the first, and how many")
    options = parser.parse_args()
    found = json.loads(options.file.read_text()) if options.file.exists() else {}
    for name, (part, seeds) in PARTS.items():
        if options.only in (None, name):
            first, count = options.seeds or (0, seeds)
            found[name] = part(range(first, first + count))
            options.file.write_text(json.dumps(found, indent=1) + "\n")


def estimators(num_workers, window, sigma):
    """Those that are compared."""
    settings = num_workers, window, sigma
    return {
        "online": unspool.NRES(*settings),
        "reweighted": unspool.ReweightedNRES(*settings),
        "clipped": unspool.ReweightedNRES(*settings, max_weight=CLIP),
    }


def balancing(seeds):
    """Distances from the optimum, and the largest rate at which all of them are small."""
    found = {"rates": RATES, "num_updates": 600}
    for name, estimator in estimators(200, 10, 0.3).items():
        run = trainer(InfluenceBalancing(horizon=400), estimator, optax.sgd, 600, 600)
        ends = [[float(run(jax.random.key(seed), rate)[0][-1]) for seed in seeds] for rate in RATES]
        distances = np.nan_to_num(np.abs(np.array(ends) - OPTIMUM), nan=np.inf, posinf=np.inf)
        good = [rate for rate, row in zip(RATES, distances, strict=True) if row.max() < NEAR]
        rows = np.minimum(distances, 1e30).astype(float)
        found[name] = {
            "largest_rate": max(good, default=None),
            "distances": [[float(f"{x:.3g}") for x in row] for row in rows],
        }
        print(name, "largest rate", found[name]["largest_rate"], "of", good, flush=True)
    return found


def lorenz(seeds):
    """For each number of workers, optimizer, rate and estimator."""
    found = []
    for num_workers in (200, 40, 10):
        for name, estimator in estimators(num_workers, 100, 0.04).items():
            for make, rate in LORENZ:
                run = trainer(Lorenz(), estimator, make, 1000, EVERY)
                paths, effective = zip(*[run(jax.random.key(s), rate) for s in seeds], strict=True)
                losses = np.array([random_start_losses(path) for path in paths])
                losses = np.nan_to_num(losses, nan=np.inf)
                row = {"num_workers": num_workers, "estimator": name, "optimizer": make.__name__}
                row |= {"rate": rate, "num_seeds": len(paths)} | summarize(losses)
                if name != "online":
                    row["effective_workers"] = round(float(np.mean(effective)), 1)
                found.append(row)
                print(row, flush=True)
    return found


def summarize(losses):
    """Of rows of losses, one every `EVERY` updates."""
    means = np.lib.stride_tricks.sliding_window_view(losses, AVERAGED, axis=1).mean(axis=2)
    means = np.pad(means, ((0, 0), (1, 0)), constant_values=np.inf)
    # So many evaluations have been made when the first mean ends after which all are low.
    evaluations = AVERAGED - 1 + means.shape[1] - np.argmax(~(means[:, ::-1] < BELOW), axis=1)
    arrival = np.where(means[:, -1] < BELOW, EVERY * evaluations, np.inf)
    tails = losses[:, -losses.shape[1] // 5 :].mean(axis=1)
    median = np.median(arrival)
    return {
        "stay": int(np.isfinite(arrival).sum()),
        "median_updates": int(median) if np.isfinite(median) else None,
        "tail": round(float(np.median(tails)), 1),
        "worst_tail": round(float(min(tails.max(), 1e6)), 1),
    }


@jax.jit
def random_start_losses(points):
    """The mean loss over random starts, evenly spread ones, at each of some parameters."""
    problem = LorenzFromRandomStarts()
    directions = unspool.LatticeDirections()
    draw = Draw(jax.random.key(99), jnp.arange(NUM_STARTS), jnp.zeros((), int), NUM_STARTS)
    starts = jnp.array(problem.start) + problem.start_noise * directions.draw(jnp.zeros(3), draw)
    truth = tuple(starts.T)
    model = tuple(jnp.broadcast_to(x, (len(points), NUM_STARTS)) for x in truth)
    rates = tuple(jnp.exp(points.T)[:, :, None])

    def step(carry, _):
        model, truth, total = carry
        model = lorenz_step(rates, model, problem.dt)
        truth = lorenz_step(TRUE_RATES, truth, problem.dt)
        return (model, truth, total + (model[2] - truth[2][None]) ** 2), None

    none = jnp.zeros((len(points), NUM_STARTS))
    (_, _, total), _ = jax.lax.scan(step, (model, truth, none), length=problem.horizon)
    return jnp.mean(total, axis=1) / problem.horizon


def trainer(problem, estimator, make, num_updates, every):
    """A function of a key and a rate: parameters once every so many updates, and the mean number
    of effective workers."""

    @jax.jit
    def run(key, rate):
        init, step = unspool.make_step(problem, estimator, make(rate))
        state = init(problem.init_params(key=key), key=key)

        def update(state, _):
            state, estimate = step(state)
            return state, estimate.stats.get("effective_workers", jnp.nan)

        def some(state, _):
            state, effective = jax.lax.scan(update, state, length=every)
            return state, (state.params, jnp.mean(effective))

        path, effective = jax.lax.scan(some, state, length=num_updates // every)[1]
        return path, jnp.mean(effective)

    return run


def training(seeds):
    """Over so many trainings with influence balancing, from the start and from the optimum."""
    found = []
    problem = InfluenceBalancing(horizon=100)
    for num_workers in (10, 20, 40, 80):
        for name, estimator in estimators(num_workers, 10, 0.3).items():
            for rate in (0.001, 0.002):
                errors, gradients = errors_in_training(problem, estimator, rate, seeds)
                along, size = np.mean(errors * gradients, 1), np.mean(gradients**2)
                bias, error = along.mean() / size, along.std(ddof=1) / len(along) ** 0.5 / size
                row = {"num_workers": num_workers, "estimator": name, "rate": rate}
                row |= {"bias": round(float(bias), 4), "standard_error": round(float(error), 4)}
                found.append(row)
                print(row, flush=True)
    return found


def errors_in_training(problem, estimator, rate, seeds, num_updates=40):
    """Estimates minus exact gradients, and these: trainings x updates."""
    init, step = unspool.make_step(problem, estimator, optax.sgd(rate))
    gradient = jax.grad(lambda params: expected_loss(problem, params, estimator.sigma))

    def run(key):
        state = init(jnp.array(0.5), key=key)

        def update(state, _):
            right = gradient(state.params)
            state, estimate = step(state)
            return state, (estimate.grad - right, right)

        return jax.lax.scan(update, state, length=num_updates)[1]

    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    return jax.tree.map(np.asarray, jax.jit(lambda keys: jax.lax.map(run, keys))(keys))


def expected_loss(problem, params, sigma):
    """Of an episode's mean loss, which is quadratic: two points are enough for any smoothing."""

    def loss(params):
        step = lambda state, t: problem.step(params, state, t, key=None)
        start = problem.init_state(params, key=None)
        return jnp.mean(jax.lax.scan(step, start, jnp.arange(problem.horizon))[1])

    return (loss(params + sigma) + loss(params - sigma)) / 2


PARTS = {"balancing": (balancing, 8), "training": (training, 2000), "lorenz": (lorenz, 16)}

if __name__ == "__main__":
    main()
