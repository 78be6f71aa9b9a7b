"""Draws `tuning.svg`: how well tuning does for a sigma, a window and a number of workers.

    .venv/bin/python docs/tuning.py

Every point spends the same number of training steps on the problem of `examples/tune_training.py`;
fifteen CPU minutes in all.
"""

import runpy
from pathlib import Path

import jax
import matplotlib
import numpy as np
import optax

import unspool

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).parent
STEPS, SEEDS = 200_000, (1, 2, 3)
SIGMAS, WINDOWS, WORKERS = (0.01, 0.03, 0.1, 0.3, 1.0), (5, 25, 125), (1, 3, 10, 30, 100)


def final_loss(problem, num_workers, window, sigma):
    """Mean and standard error over seeds of the objective that tuning ends with."""
    estimator = unspool.NRES(num_workers, window, sigma=sigma)
    num_updates = STEPS // estimator.plan(problem.horizon).num_steps
    ends = []
    for seed in SEEDS:
        key = jax.random.key(seed)
        *_, last = unspool.train(
            problem, estimator, optax.adam(0.05), num_updates=num_updates, key=key,
            log_every=num_updates, throw=False,
        )  # fmt: skip
        ends.append(unspool.evaluate(problem, last.params, key=key, num_episodes=20).loss)
    return np.mean(ends), np.std(ends, ddof=1) / len(ends) ** 0.5


def draw(axes, x, found, label=None):
    means, errors = np.array(found).T
    axes.errorbar(x, means, errors, marker="o", markersize=3, capsize=2, label=label)


def main():
    problem = runpy.run_path(str(HERE.parent / "examples" / "tune_training.py"))["problem"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    for window in WINDOWS:
        found = [final_loss(problem, 10, window, sigma) for sigma in SIGMAS]
        print("window", window, np.round(found, 4).tolist(), flush=True)
        draw(left, SIGMAS, found, f"window {window}")
    found = [final_loss(problem, num_workers, 25, 0.1) for num_workers in WORKERS]
    print("workers", np.round(found, 4).tolist())
    draw(right, WORKERS, found)
    left.set(xscale="log", yscale="log", xlabel="sigma (10 workers)")
    left.set_ylabel(f"validation loss after {STEPS:,} steps")
    left.legend(frameon=False)
    right.set(xscale="log", xlabel="workers (window 25, sigma 0.1)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "tuning.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
