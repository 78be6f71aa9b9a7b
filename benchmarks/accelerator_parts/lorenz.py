"""Lorenz with few to very many workers: when is a device full?"""

import optax

import unspool

from .part import Column, Part, in_turn
from .programs import measure_training

WORKERS = (200, 1000, 10_000, 100_000, 1_000_000)
SMALL_WORKERS = (20,)


def measure(settings, before, left):
    """NRES as published, windows of 100 of 2000 steps."""
    horizon, window = (20, 5) if settings.small else (2000, 100)
    problem = unspool.problems.Lorenz(horizon=horizon)

    def one(num_workers):
        estimator = unspool.NRES(num_workers, window, 0.04)
        yield measure_training(problem, estimator, optax.sgd(1e-5), settings.small)

    sizes = SMALL_WORKERS if settings.small else WORKERS
    cases = {f"{N} workers": lambda left, N=N: one(N) for N in sizes}
    yield from in_turn(cases, before, left)


PART = Part(
    "lorenz",
    "Lorenz, NRES, windows of 100 steps",
    0.12,
    (
        Column("seconds_per_update", "s/update"),
        Column("steps_per_second", "steps/s"),
        Column("flops_per_second", "flop/s"),
        Column("share_of_peak", "of peak", ".2%"),
        Column("launches_per_step", "kernels/step", ".1f"),
        Column("state_bytes", "state B"),
        Column("work_bytes", "work B"),
        Column("trace_s", "trace s", ".1f"),
        Column("compile_s", "compile s", ".1f"),
    ),
    measure,
)
