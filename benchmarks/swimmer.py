"""What training a swimmer costs beyond its simulation, and what a second thread brings.

    .venv/bin/python benchmarks/swimmer.py [FILE.json]

Prints the numbers as JSON. `share` is our rate of steps per CPU second over that of a batch of
simulations that is stepped bare, with constant controls. These bend the joints to their limits,
which takes MuJoCo longer than what policies do; hence `simulating`, the share of our own CPU time
that is spent in the batch's steps, with one thread. `speedup` is the rate per second of wall time
with two threads over that with one; it says something only where two cores are idle, which that of
the bare batch tells. All are measured in turns, so that they see the same machine, and are medians
of the turns.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

WORKERS, WINDOW, SIGMA, RATE = 30, 100, 0.3, 3.0
ROWS = 2 * WORKERS
TURNS, UPDATES = 7, 5
IN_STEPS = [0.0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    text = json.dumps(measure(), indent=1)
    print(text)
    if options.file:
        options.file.write_text(text + "\n")


def measure():
    from unspool._threads import use_one_thread

    use_one_thread()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count_time_of_steps()
    runs = {f"{name}_{n}": make(n) for name, make in MAKERS.items() for n in (1, 2)}
    for run in runs.values():
        run()
    turns = [{name: timed(run) for name, run in runs.items()} for _ in range(TURNS)]
    median = lambda of: statistics.median(of(turn) for turn in turns)
    rates = {
        name: {
            "steps_per_cpu_s": median(lambda turn, name=name: turn[name]["steps_per_cpu_s"]),
            "steps_per_wall_s": median(lambda turn, name=name: turn[name]["steps_per_wall_s"]),
        }
        for name in runs
    }
    ratio = lambda x, y, unit: median(lambda turn: turn[x][unit] / turn[y][unit])
    return {
        "cores": cores,
        "rates": rates,
        "share": {
            f"{n}_threads": ratio(f"ours_{n}", f"bare_{n}", "steps_per_cpu_s") for n in (1, 2)
        },
        "simulating": median(lambda turn: turn["ours_1"]["simulating"]),
        "speedup": {name: ratio(f"{name}_2", f"{name}_1", "steps_per_wall_s") for name in MAKERS},
    }


def ours(num_threads):
    """Several updates at a time, of one training that goes on."""
    import jax
    import optax

    import unspool
    from unspool.problems.control import Swimmer

    problem = Swimmer(num_threads=num_threads)
    records = unspool.train(
        problem,
        unspool.NRES(WORKERS, WINDOW, SIGMA),
        optax.sgd(RATE),
        num_updates=UPDATES * (TURNS + 1),
        key=jax.random.key(0),
        log_every=UPDATES,
    )
    return lambda: next(records)


def bare(num_threads):
    """As many simulations for as many steps, with nothing around them."""
    from mujoco.batch import Batch

    from unspool.problems.control import Swimmer

    batch = Batch(Swimmer().simulations.model, ROWS, num_threads)
    batch.ctrl[:] = 0.5

    def run():
        for _ in range(UPDATES * WINDOW):
            batch.step(nstep=Swimmer.frame_skip)

    return run


MAKERS = {"ours": ours, "bare": bare}


def count_time_of_steps():
    """Has every batch add the CPU time of its steps to `IN_STEPS`."""
    from mujoco.batch import Batch

    step = Batch.step

    def counted(*arguments, **options):
        began = time.process_time()
        step(*arguments, **options)
        IN_STEPS[0] += time.process_time() - began

    Batch.step = counted


def timed(run):
    IN_STEPS[0] = 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    steps = UPDATES * WINDOW * ROWS
    return {
        "steps_per_cpu_s": steps / cpu,
        "steps_per_wall_s": steps / wall,
        "simulating": IN_STEPS[0] / cpu,
    }


if __name__ == "__main__":
    main()
