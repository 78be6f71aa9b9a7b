"""Whether another checkout of the library makes the same estimates, bit for bit or up to rounding.

    python benchmarks/same_estimates.py CHECKOUT [--only WORD]

Every estimator runs on problems of each kind (fixed lengths, early ends, drawn lengths, learned
starts, failures, half precision, several problems, simulators) with this tree's library and with
that of CHECKOUT, each in a process of its own. Prints for each pair whether gradients, losses and
counts are equal; where they are not, the largest difference relative to the largest number.
Ends with exit status 1 if a difference is larger than rounding explains.
"""

import argparse
import math
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool

ROOT = Path(__file__).parents[1]
ROUNDING = 2e-5
"""Relative to the largest number of an estimate; other orders of float32 sums stay far below."""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default="", help="a word in the name of a pair")
    parser.add_argument("--write", type=Path, help="make the estimates of one library alone")
    options = parser.parse_args()
    if options.write:
        options.write.write_bytes(pickle.dumps(make_all(options.only)))
        return
    mine, others = (collect(root, options.only) for root in (ROOT, options.checkout))
    differences = {name: compare(mine[name], others[name]) for name in mine if name in others}
    for name, difference in differences.items():
        print(f"{name:45} {difference:.1e}" if difference else f"{name:45} same bits")
    same = sum(difference == 0 for difference in differences.values())
    print(f"{same} of {len(differences)} pairs have the same bits")
    sys.exit(not all(difference < ROUNDING for difference in differences.values()))


def collect(root, only):
    """The estimates of a checkout's library."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "estimates"
        command = [sys.executable, __file__, root, "--only", only, "--write", file]
        environment = os.environ | {"PYTHONPATH": str(Path(root, "src").resolve())}
        subprocess.run(command, env=environment, check=True)
        return pickle.loads(file.read_bytes())


def compare(mine, others):
    """Zero for the same bits, else the largest difference relative to the largest number."""
    if all(np.array_equal(x, y, equal_nan=True) for x, y in zip(mine, others, strict=True)):
        return 0.0
    if any((np.isfinite(x) != np.isfinite(y)).any() for x, y in zip(mine, others, strict=True)):
        return math.inf
    largest = max(np.max(np.abs(x), where=np.isfinite(x), initial=0) for x in mine)
    differences = [np.abs(x - y) for x, y in zip(mine, others, strict=True)]
    return max(np.max(x, where=np.isfinite(x), initial=0) for x in differences) / largest


def make_all(only):
    """Estimates of each pair by name, as lists of arrays in double precision."""
    found = {}
    for problem_name, problem in PROBLEMS.items():
        for estimator_name, estimator in ESTIMATORS.items():
            name = f"{estimator_name} on {problem_name}"
            if only in name and estimator_name in CHOSEN.get(problem_name, ESTIMATORS):
                found[name] = make_estimates(problem, estimator)
    if only in "training":
        found["training"] = make_training()
    return found


def make_estimates(problem, estimator):
    """Two episodes of gradients, losses and statistics."""
    key, arrays = jax.random.key(1), []
    params = problem.init_params(key=key)
    state = estimator.init(problem, params, key=key)
    for _ in range(8):
        estimate, state = estimator.estimate(problem, params, state)
        counts = [estimate.stats[name] for name in ("dropped", "waiting", "useful_steps")]
        arrays += [*jax.tree.leaves(estimate.grad), estimate.loss, *counts]
    return [np.asarray(x, float) for x in arrays]


def make_training():
    """The parameters along a training."""
    problem, estimator = unspool.problems.Lorenz(horizon=200), unspool.NRES(20, 20, 0.04)
    settings = {"num_updates": 40, "key": jax.random.key(2), "log_every": 10}
    records = unspool.train(problem, estimator, optax.adam(0.01), **settings)
    return [np.asarray(x, float) for r in records for x in jax.tree.leaves(r.params)]


class Failing(unspool.AbstractProblem):
    """The root of a number that may be negative."""

    horizon: int = 12

    def init_params(self, *, key):
        return jnp.array([0.3, 0.1])

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = state + 0.2 * jax.random.normal(key) + params[0]
        return state, jnp.sqrt(state + params[1])


class Half(unspool.AbstractProblem):
    """Parameters of 16 bits."""

    horizon: int = 12

    def init_params(self, *, key):
        return jnp.array([1.0, 2.0], jnp.bfloat16)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        state = 0.9 * state + jnp.sum(params.astype(jnp.float32))
        return state, jnp.sin(state)


class Simulator(unspool.AbstractHostProblem):
    """A state that NumPy advances."""

    horizon = 12

    def init_params(self, *, key):
        return jnp.array([0.3, 0.1])

    def init_state(self, params, *, seeds):
        return np.stack([1.0 + seeds % 7 / 7, seeds % 3 / 3], 1)

    def step(self, params, state, t, *, seeds):
        state = 0.9 * state + params
        return state, np.sum(state**2, 1)


def decaying(update):
    return 0.2 * 0.9**update


# Checkouts before this one had no other control.
ONE = {"control": unspool.WindowGradientControl()} if hasattr(unspool, "ControlledNRES") else {}
ESTIMATORS = {
    "FullES": unspool.FullES(4, 0.1),
    "TruncatedES": unspool.TruncatedES(4, 3, 0.1),
    "PES": unspool.PES(3, 3, 0.1),
    "PES with a schedule": unspool.PES(3, 3, decaying),
    "GPES of long periods": unspool.GPES(3, 3, 6, 0.1),
    "GPES of short periods": unspool.GPES(4, 6, 2, 0.1),
    "NRES": unspool.NRES(3, 3, 0.1),
    "NRES with a schedule": unspool.NRES(3, 3, decaying),
    "NRES of odd windows": unspool.NRES(3, 5, 0.1),
    "ESSingle": unspool.ESSingle(4, 3, 0.1),
    "NRES in chunks": unspool.Chunked(unspool.NRES(5, 3, 0.1), 2),
    "PES in chunks": unspool.Chunked(unspool.PES(5, 3, 0.1), 2),
    "ControlledGPES": unspool.ControlledGPES(3, 3, 3, 0.1, **ONE),
    "PESAnalytic": unspool.PESAnalytic(3, 3, 0.1),
    "DODGE": unspool.DODGE(3, 3),
    "DODGE with a period": unspool.DODGE(4, 6, 3),
    "ForwardGradient": unspool.ForwardGradient(3, 3),
    "BPTT": unspool.BPTT(2),
    "TBPTT": unspool.TBPTT(3, 3),
    "RTRL": unspool.RTRL(3, 3),
    "UORO": unspool.UORO(3, 3),
}
if hasattr(unspool, "LowRankUORO"):  # which checkouts before this one have not
    ESTIMATORS["LowRankUORO"] = unspool.LowRankUORO(3, 3)
    ESTIMATORS["ARTBP"] = unspool.ARTBP(2, 0.1)
if hasattr(unspool, "ReweightedNRES"):  # which checkouts before this one have not
    ESTIMATORS["ReweightedNRES"] = unspool.ReweightedNRES(3, 3, 0.1)
    ESTIMATORS["ReweightedNRES of odd windows"] = unspool.ReweightedNRES(3, 5, decaying)
# The name that it had in checkouts before this one.
several = getattr(unspool, "JointProblem", None) or getattr(unspool, "JointEngine")  # noqa: B009
PROBLEMS = {
    "a cubic": unspool.problems.Cubic(horizon=12),
    "early ends": unspool.problems.EarlyEnd(),
    "random lengths": unspool.problems.RandomLength(),
    "a learned start": unspool.problems.LearnedStart(horizon=12),
    "failures": Failing(),
    "half precision": Half(),
    "two problems": several(
        [unspool.problems.LearnedStart(horizon=12, goal=goal) for goal in (1.0, 2.0)]
    ),
    "a simulator": Simulator(),
}
CHOSEN = {
    "a learned start": ("GPES of long periods", "NRES", "ControlledGPES", "DODGE", "TBPTT", "RTRL"),
    "random lengths": ("GPES of short periods", "NRES of odd windows", "ControlledGPES", "BPTT"),
    "half precision": ("PES", "NRES with a schedule", "DODGE", "TBPTT"),
    "two problems": ("PES in chunks", "NRES", "TBPTT", "UORO"),
    "a simulator": ("FullES", "TruncatedES", "PES", "NRES in chunks"),
}
"""The estimators that run on problems that not all are to run on."""


if __name__ == "__main__":
    main()
