"""CPU time of one estimate on Lorenz at the published settings, for every estimator.

    .venv/bin/python benchmarks/lorenz.py [FILE.json]

A line per estimator: CPU milliseconds of one estimate (median of five loops) and of the first,
compilation included. Published code needs 17.3 ms for NRES on a comparable core.
"""

import json
import statistics
import sys
import time

import equinox as eqx
import jax

import unspool
from unspool._describe import describe, environment
from unspool._threads import use_one_thread

# Before the first array is made, sigmas included.
use_one_thread()
ESTIMATORS = (
    unspool.NRES(200, 100, 0.04),
    unspool.PES(200, 100, 0.04),
    unspool.GPES(200, 100, 400, 0.04),
    unspool.ESSingle(200, 100, 0.04),
    unspool.FullES(10, 0.04),
    unspool.TruncatedES(200, 100, 0.04),
    unspool.DODGE(200, 100),
    unspool.ForwardGradient(200, 100),
    unspool.TBPTT(200, 100),
    unspool.BPTT(1),
    unspool.RTRL(200, 100),
    unspool.UORO(200, 100),
)
LOOPS, ESTIMATES = 5, 200


@eqx.filter_jit
def run(problem, estimator, params, state):
    def estimate(state, _):
        estimate, state = estimator.estimate(problem, params, state)
        return state, estimate.grad

    return jax.lax.scan(estimate, state, length=ESTIMATES)


def cpu_seconds(function, *arguments):
    began = time.process_time()
    result = jax.block_until_ready(function(*arguments))
    return time.process_time() - began, result


def measure(problem, estimator, params, key):
    start_up, state = cpu_seconds(lambda: estimator.init(problem, params, key=key))
    first, _ = cpu_seconds(estimator.estimate, problem, params, state)
    run(problem, estimator, params, state)
    loops = [cpu_seconds(run, problem, estimator, params, state)[0] for _ in range(LOOPS)]
    each = statistics.median(loops) / ESTIMATES
    return {
        "estimator": describe(estimator),
        "cpu_ms": 1e3 * each,
        "cpu_s_init_and_first": start_up + first,
        "steps_per_cpu_second": estimator.num_steps(problem.horizon) / each,
    }


def main(path=None):
    problem, key = unspool.problems.Lorenz(), jax.random.key(0)
    params = problem.init_params(key=key)
    print(f"import {time.process_time():.2f} CPU s")
    rows = []
    for estimator in ESTIMATORS:
        row = measure(problem, estimator, params, key)
        rows.append(row)
        print(
            f"{row['estimator']['name']:16} {row['cpu_ms']:8.3f} ms an estimate, "
            f"{row['steps_per_cpu_second'] / 1e6:7.0f} million steps per CPU second, "
            f"{row['cpu_s_init_and_first']:5.1f} s to the first",
            flush=True,
        )
    if path:
        with open(path, "w") as file:
            json.dump({"environment": environment(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
