"""The parts of `accelerator.py`, the most important ones first."""

from . import compile_times, correctness, fashion_mnist, learned_optimizer, lorenz

PARTS = (
    correctness.PART,
    lorenz.PART,
    learned_optimizer.PART,
    fashion_mnist.PART,
    compile_times.PART,
)
