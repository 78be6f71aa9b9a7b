"""A learned optimizer with few to many workers, in float32 and in TF32."""

import jax
import numpy as np
import optax

import unspool
from unspool.data import Dataset
from unspool.problems.learned_optimizer import MLP, MLPOptimizer, OptimizerTraining, image_task

from .lorenz import PART as LORENZ
from .part import Part, in_turn
from .programs import measure_training

# The workers, and how many of them advance together.
WORKERS = ((100, None), (1000, None), (10_000, 1000), (10_000, None))
SMALL_WORKERS = ((6, 2),)
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32"}
NUM_IMAGES = 1797


def measure(settings, before, left):
    problem = training(settings.small)
    window = 2 if settings.small else 10

    def one(num_workers, at_once, unit):
        if unit == "tf32" and jax.default_backend() != "gpu":
            yield {"note": "TF32 is arithmetic of GPUs"}
            return
        engine = unspool.LocalEngine(problem, workers_at_once=at_once)
        estimator = unspool.NRES(num_workers, window, 0.01)
        with jax.default_matmul_precision(PRECISIONS[unit]):
            yield measure_training(engine, estimator, optax.adam(3e-4), settings.small, unit)

    cases = {}
    for num_workers, at_once in SMALL_WORKERS if settings.small else WORKERS:
        for unit in PRECISIONS:
            name = f"{num_workers} workers{f', {at_once} at once' if at_once else ''}, {unit}"
            case = num_workers, at_once, unit
            cases[name] = lambda left, case=case: one(*case)
    yield from in_turn(cases, before, left)


def training(small):
    """The published optimizer and network on images of the size of the digits, but made up.

    The horizon is a tenth of the published one: what a step costs does not depend on it, and the
    workers' way to their places in the episode is shorter.
    """
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 10, 40 if small else NUM_IMAGES).astype(np.int32)
    templates = generator.uniform(size=(10, 64))
    noise = generator.normal(size=(len(targets), 64))
    images = Dataset((templates[targets] + 0.1 * noise).astype(np.float32), targets)
    sizes, batch, hidden = ((64, 4, 10), 4, (4,)) if small else (MLP().sizes, 128, (32, 32))
    task = image_task(images, MLP(sizes), batch)
    return OptimizerTraining(MLPOptimizer(hidden), task, horizon=8 if small else 100)


PART = Part(
    "learned optimizer",
    "Learned optimizer, NRES, windows of 10 steps",
    0.2,
    LORENZ.columns,
    measure,
)
