"""Annealed smoothing against `NRES` with one sigma, as published and tuned, on fresh seeds.

    python benchmarks/annealing.py FILE.json [PART OF A NAME]

Every setting was chosen with seeds 1000 to 1011: for each side in 96 tries on Lorenz and in 48 on
toy regression. Before these, 54 tries on Lorenz were of an annealing that judged Adam's steps in
place of gradients; 8 more chose how `clip_by_drift` forgets, and its limit. What is reported is of
seeds 0 to 23, with which nothing was chosen; and for steps that are cut by drift of seeds 24 to 47,
because its rule was changed after seeing the first.

A run arrives where its loss is at the threshold at every later look too. That is later than the
first time, and later still in a longer run, where losses lie close to the threshold. The tail is
the mean of the last fifth of the looks. On Lorenz a look is a mean over 1000 trajectories
from random starts; on toy regression one over 64 fixed points around the parameters, with a
standard deviation of 0.1. Steps are those of all rows, the warm-up included.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool
from unspool._statistics.summarize import final_value
from unspool.experiments.losses import draw_shifts, losses_at

NUM_SEEDS = 24
LORENZ, TOY = unspool.problems.Lorenz(), unspool.problems.ToyRegression()
NUM_SHIFTS, NUM_EPISODES = 64, 1000
LATTICE = unspool.LatticeDirections()


class Setting(NamedTuple):
    """An estimator, an optimizer, how many updates are made and between two looks, and seeds."""

    estimator: Any
    optimizer: Any
    num_updates: int
    every: int
    first_seed: int = 0


class Case(NamedTuple):
    """A problem, the losses at some parameters, and the threshold."""

    problem: Any
    losses: Callable[[np.ndarray], np.ndarray]
    threshold: float
    settings: dict[str, Setting]


def lorenz_losses(points):
    judge = unspool.problems.LorenzFromRandomStarts()
    found = losses_at(
        judge, points, like=points[0], key=jax.random.key(77), num_episodes=NUM_EPISODES
    )
    return np.concatenate([losses for losses, _ in found])


def toy_losses(points):
    around = (points[:, None] + draw_shifts(0.1, NUM_SHIFTS)).reshape(-1, points.shape[1])
    found = losses_at(TOY, around, like=points[0], key=jax.random.key(0))
    losses = np.concatenate([losses for losses, _ in found])
    return losses.reshape(len(points), -1).mean(axis=1)


def following(rate, b1):
    """Adam with a rate in sigmas for each episode."""
    return optax.chain(optax.adam(rate, b1=b1, b2=0.99), unspool.scale_by_sigma())


def by_schedule(update):
    """Wide for 80 updates, and then over 100 down to a twelfth."""
    return 0.24 / 12 ** jnp.clip((update - 80) / 100, 0, 1)


ON_LORENZ = unspool.Annealing(0.18, floor=0.012)
ON_TOY = unspool.Annealing(0.6, floor=0.1)
CASES = {
    "lorenz": Case(
        LORENZ,
        lorenz_losses,
        52.0,
        {
            "published": Setting(unspool.NRES(200, 100, 0.04), optax.sgd(1e-5), 1500, 20),
            "tuned": Setting(
                unspool.NRES(40, 100, 0.03),
                optax.adam(optax.exponential_decay(0.01, 1231, 0.1), b1=0.8, b2=0.98),
                1231,
                20,
            ),
            "annealed": Setting(
                unspool.NRES(100, 100, ON_LORENZ, directions=LATTICE), following(1.8, 0.8), 260, 10
            ),
            "annealed, independent directions": Setting(
                unspool.NRES(100, 100, ON_LORENZ), following(1.8, 0.8), 260, 10
            ),
            "annealed, steps cut by drift": Setting(
                unspool.NRES(100, 100, ON_LORENZ, directions=LATTICE),
                optax.chain(optax.adam(1.0, b1=0.8, b2=0.99), unspool.clip_by_drift(1.0)),
                260,
                10,
                first_seed=24,
            ),
            "by a schedule": Setting(
                unspool.NRES(100, 100, by_schedule, directions=LATTICE),
                following(1.6, 0.9),
                260,
                10,
            ),
        },
    ),
    "toy regression": Case(
        TOY,
        toy_losses,
        6.5,
        {
            "published": Setting(unspool.NRES(50, 10, 0.3), optax.adam(0.01, b1=0.99), 2000, 10),
            "tuned": Setting(unspool.NRES(5, 10, 0.5), optax.adam(0.03), 3000, 5),
            "annealed": Setting(
                unspool.NRES(5, 10, ON_TOY, directions=LATTICE), following(2.0, 0.8), 300, 5
            ),
        },
    ),
}


@eqx.filter_jit
def train(problem, setting, seeds):
    """The parameters after every update, and the sigma before it, of each seed."""
    estimator = setting.estimator
    init, step = unspool.make_step(problem, estimator, setting.optimizer)

    def one(seed):
        key = jax.random.key(seed)

        def update(state, _):
            sigma = estimator.current_sigma(state.workers)
            state, _ = step(state)
            return state, (state.params, sigma)

        state = init(problem.init_params(key=key), key=key)
        return jax.lax.scan(update, state, length=setting.num_updates)[1]

    return jax.vmap(one)(seeds)


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Updates and steps until each seed arrives, and the tails."""
    began = time.process_time()
    seeds = setting.first_seed + jnp.arange(NUM_SEEDS)
    params, sigma = jax.block_until_ready(train(case.problem, setting, seeds))
    spent = time.process_time() - began
    params = np.asarray(params)[:, setting.every - 1 :: setting.every]
    losses = case.losses(params.reshape(-1, params.shape[-1])).reshape(params.shape[:2])
    is_low = losses <= case.threshold
    first = np.array([arrival(line[: np.argmax(line) + 1]) for line in is_low]) * setting.every
    arrived = np.array([arrival(line) for line in is_low]) * setting.every
    tails = np.array([final_value(line) for line in losses])
    plan = setting.estimator.plan(case.problem.horizon)
    as_steps = lambda updates: (updates + plan.num_warmup_windows) * plan.num_steps
    return {
        "updates": spread(arrived),
        "steps": spread(as_steps(arrived)),
        "steps_first": spread(as_steps(first)),
        "tail": spread(tails),
        "seeds_at_threshold": int(np.sum(tails <= case.threshold)),
        "seeds_arrived": int(np.sum(np.isfinite(arrived))),
        "seeds": len(tails),
        "last_sigma": spread(np.asarray(sigma)[:, -1]),
        "steps_in_all": as_steps(setting.num_updates),
        "cpu_seconds": round(spent, 1),
    }


def arrival(is_low: np.ndarray) -> float:
    """The number of the look from which on all are low; infinite if the last one is not."""
    high = np.flatnonzero(~is_low)
    first = high[-1] + 1 if high.size else 0
    return first + 1 if first < len(is_low) else np.inf


def spread(values: np.ndarray) -> list[float | None]:
    """The median, the least and the largest; `None` for what is not finite."""
    found = np.median(values), np.min(values), np.max(values)
    return [float(f"{x:.4g}") if np.isfinite(x) else None for x in found]


def main():
    file, *parts = sys.argv[1:]
    found = json.loads(Path(file).read_text()) if Path(file).exists() else {}
    for problem, case in CASES.items():
        for label, setting in case.settings.items():
            name = f"{problem}, {label}"
            if all(part in name for part in parts):
                found[name] = measure(case, setting)
                print(name, found[name], flush=True)
    Path(file).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
