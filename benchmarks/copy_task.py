"""How far back estimators with windows of one step learn to copy.

    python benchmarks/copy_task.py FILE.json [--lags LAG ...] [--seeds SEED ...] [--only NAME ...]

Two bits are shown, and asked for after a lag: one who knows nothing has a loss of log 2 = 0.693.
Each estimator trains a plain net of 16 units with 32 workers, windows of one step and 8000 updates
of Adam at 0.003, from the same start for a seed. FILE.json holds the losses over 500 fresh
episodes and the CPU seconds, and what it holds of other lags and estimators is kept.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import optax

import unspool
from unspool._describe import environment

NUM_WORKERS, WINDOW, NUM_UPDATES = 32, 1, 8000
ESTIMATORS = {
    "TBPTT": unspool.TBPTT(NUM_WORKERS, WINDOW),
    "UORO": unspool.UORO(NUM_WORKERS, WINDOW),
    "KFRTRL": unspool.KFRTRL(NUM_WORKERS, WINDOW),
    "OK": unspool.OK(NUM_WORKERS, WINDOW, num_terms=1),
    "SnAp1": unspool.SnAp1(NUM_WORKERS, WINDOW),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--lags", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202, 203, 204])
    parser.add_argument("--only", nargs="+", choices=ESTIMATORS, default=[*ESTIMATORS])
    options = parser.parse_args()
    for lag in options.lags:
        for name in options.only:
            begun = time.process_time()
            losses = [train(lag, ESTIMATORS[name], seed) for seed in options.seeds]
            found = {"seeds": options.seeds, "losses": losses}
            write(options.file, f"{name}, lag {lag}", found | {"cpu": time.process_time() - begun})
            print(f"lag {lag:2d} {name:7s}", *(f"{loss:.3f}" for loss in losses), flush=True)


def train(lag: int, estimator: unspool.AbstractEstimator, seed: int) -> float:
    """The loss of what is trained, over fresh episodes."""
    problem = unspool.problems.CopyTask(lag=lag, num_copied=2, num_symbols=2, num_hidden=16)
    sizes = {"num_updates": NUM_UPDATES, "log_every": NUM_UPDATES}
    *_, last = unspool.train(
        problem, estimator, optax.adam(3e-3), key=jax.random.key(seed), **sizes
    )
    fresh = {"key": jax.random.key(1), "num_episodes": 500}
    return float(unspool.evaluate(problem, last.params, **fresh).loss)


def write(file: Path, name: str, found: dict) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    known = {"environment": environment(), "trainings": known.get("trainings", {}) | {name: found}}
    file.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
