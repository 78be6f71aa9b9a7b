"""How long programs take to trace and to compile, the start of the workers and the updates."""

import optax

import unspool

from .learned_optimizer import training
from .part import Column, Part, in_turn
from .programs import compile_training


def measure(settings, before, left):
    # A number of workers that no other part has, whose traces JAX would still remember.
    N, W = (7, 5) if settings.small else (250, 100)
    lorenz = lambda: unspool.problems.Lorenz(horizon=4 * W)
    cases = {
        "Lorenz NRES": (lorenz, unspool.NRES(N, W, 0.04)),
        "Lorenz PES": (lorenz, unspool.PES(N, W, 0.04)),
        "Lorenz TBPTT": (lorenz, unspool.TBPTT(N, W)),
        "Lorenz UORO": (lorenz, unspool.UORO(N, W)),
        "learned optimizer NRES": (lambda: training(settings.small), unspool.NRES(N, 1, 0.01)),
        "learned optimizer PES": (lambda: training(settings.small), unspool.PES(N, 1, 0.01)),
    }
    if settings.small:
        cases = {"Lorenz NRES": cases["Lorenz NRES"]}

    def one(problem, estimator):
        yield compile_training(problem(), estimator, optax.adam(1e-3))[2]

    cases = {name: lambda left, case=case: one(*case) for name, case in cases.items()}
    yield from in_turn(cases, before, left)


PART = Part(
    "compile times",
    "Seconds to trace and to compile",
    0.06,
    (
        Column("start_trace_s", "start: trace", ".2f"),
        Column("start_compile_s", "compile", ".2f"),
        Column("trace_s", "updates: trace", ".2f"),
        Column("compile_s", "compile", ".2f"),
    ),
    measure,
)
