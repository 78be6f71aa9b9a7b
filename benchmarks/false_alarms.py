"""How often `check_unbiased` calls an unbiased estimator biased.

    .venv/bin/python benchmarks/false_alarms.py [FILE.json] [--tests 1000] [--statistics 100000]

Prints the rates as JSON. `tests` are runs of `check_unbiased` on small problems, each with chains
of its own, at a level of 0.05: the share whose p-value is below it, and of those left undecided.
`statistics` are those of the same form, of simulated chains of known noise, at 0.05 and at 0.001.
Each rate comes with the standard error that it would have if it were the level.
"""

import argparse
import json
import math
from pathlib import Path

import jax
import numpy as np

import unspool
from unspool import problems
from unspool._chains import ChainPlan, run_chains, simulate_references
from unspool._describe import environment
from unspool._joint import as_joint
from unspool._programs import call_program
from unspool._student import quantile
from unspool._verdict import Statistics, judge
from unspool.problems._closed_form import flatten

NUM_CHAINS = (30, 100, 1000)
LEVELS = (0.05, 0.001)
EPISODES = 8
CHAINS_AT_ONCE = 10_000
CUBIC, LENGTHS = problems.Cubic(horizon=4), problems.RandomLength(horizon=4, lengths=(2, 4))
TESTS = {
    "NRES": (CUBIC, unspool.NRES(2, 2, 0.1), True),
    "NRES, simulated": (CUBIC, unspool.NRES(2, 2, 0.1), False),
    "PES": (CUBIC, unspool.PES(2, 1, 0.1), True),
    "PES, simulated": (CUBIC, unspool.PES(2, 1, 0.1), False),
    "PES, a schedule": (CUBIC, unspool.PES(2, 1, lambda update: 0.2 * 0.95**update), False),
    "NRES, random lengths": (LENGTHS, unspool.NRES(2, 2, 0.1), True),
    "NRES, random lengths, simulated": (LENGTHS, unspool.NRES(2, 2, 0.1), False),
    "NRES, z to the fourth": (problems.Cubic(), unspool.NRES(4, 2, 0.1), True),
    "UORO": (CUBIC, unspool.UORO(2, 2), True),
}


def gaussian(z, w, u):
    return z


def squared_gaussian(z, w, u):
    """What a single direction says of a linear loss."""
    return z**2 - 1


def two_directions(z, w, u):
    """A derivative along one direction, credited to another."""
    return z * w


def credited_loss(z, w, u):
    """A noisy loss of its own scale, credited to the product of two directions."""
    return z * w * u * (1 + u)


def skewed_and_heavy(z, w, u):
    return z**2 * (1 + w**2 / 2) - 1.5


def log_normal(z, w, u):
    return np.exp(z) - math.exp(0.5)


NOISES = (gaussian, squared_gaussian, two_directions, credited_loss, skewed_and_heavy, log_normal)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--statistics", type=int, default=100_000)
    options = parser.parse_args()
    found = {
        "environment": environment(),
        "tests": {name: run_tests(*test, options.tests) for name, test in TESTS.items()},
        "statistics": {of.__name__: simulate(of, options.statistics) for of in NOISES},
    }
    text = json.dumps(found, indent=1)
    print(text)
    if options.file:
        options.file.write_text(text + "\n")


def run_tests(problem, estimator, is_known, num_tests):
    """Rates of alarms among tests, which are run side by side."""
    joint, key = as_joint(problem), jax.random.key(0)
    params = joint.init_params(key=key)
    target = estimator.plan(problem.horizon).target
    exact = flatten(problem.exact_gradient(params, target)) if is_known else None
    found = {}
    for num_chains in NUM_CHAINS:
        plan = ChainPlan.of(joint, estimator, num_chains)
        at_once = max(1, CHAINS_AT_ONCE // num_chains)
        verdicts = []
        for start in range(0, num_tests, at_once):
            keys = jax.random.split(jax.random.fold_in(key, start), at_once * num_chains)
            mean, starts, _ = call_program(run_chains, joint, estimator, params, keys, plan)
            if is_known:
                expected = exact + np.zeros(mean.shape)
            else:
                expected = np.asarray(
                    call_program(simulate_references, joint, estimator, params, starts), np.float64
                )
            shape = at_once, num_chains, -1
            deviations = (np.asarray(mean, np.float64) - expected).reshape(shape)
            scales = np.abs(expected.reshape(shape).mean(axis=1)).max(axis=1)
            pairs = zip(deviations, scales, strict=True)
            verdicts += [judge(each, scale, 0.0, LEVELS[0]) for each, scale in pairs]
        verdicts = verdicts[:num_tests]
        alarms = np.mean([verdict.p_value < LEVELS[0] for verdict in verdicts])
        undecided = np.mean([verdict.decision == "not decided" for verdict in verdicts])
        found[num_chains] = rate(alarms, LEVELS[0], num_tests) | {"undecided": float(undecided)}
    return found


def simulate(noise, count):
    """Rates of alarms among statistics of chains whose noise is a mean over a few episodes."""
    found = {}
    for num_chains in NUM_CHAINS:
        rng = np.random.default_rng(num_chains)
        at_once = max(1, 1_000_000 // (EPISODES * num_chains))
        t = []
        for start in range(0, count, at_once):
            size = EPISODES, num_chains, min(at_once, count - start)
            chains = noise(*rng.normal(size=(3, *size))).mean(axis=0)
            t.append(Statistics.of(chains, 0.0).t)
        t = np.concatenate(t)
        found[num_chains] = {
            level: rate(np.mean(t > quantile(level / 2, num_chains - 1)), level, count)
            for level in LEVELS
        }
    return found


def rate(alarms, level, count):
    return {"rate": float(alarms), "standard_error": math.sqrt(level * (1 - level) / count)}


if __name__ == "__main__":
    main()
