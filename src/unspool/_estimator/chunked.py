from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count
from .base import AbstractEstimator


class Chunked(AbstractEstimator):
    r"""Another estimator in less memory: some of its workers at a time.

    $$ \hat g = \frac{1}{N} \sum_{\text{chunks}} \sum_{i \in \text{chunk}} \hat g_i $$

    The estimate is the other's up to rounding: every worker keeps its clock, its data and its
    noise, bit for bit. What is as large as the parameters (perturbations, scores, gradients) is
    held for one chunk and not for all workers; states stay. `NRES(256, ...)` of a million
    parameters needs 5.7 GiB, in chunks of 8 workers 0.2 GiB.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | the other's | the other's | the other's | as the other |

    Prefer it when the parameters are many and `NRES` or `FullES` would not fit. Not for small
    problems, whose workers are fastest all at once. `LocalEngine(problem, workers_at_once)` is
    the like for states.

    **Arguments:**

    - `estimator`: the estimator whose workers are split up.
    - `workers_at_once`: workers in a chunk; the last one may have fewer.

    **Raises:** `ValueError` for a count below 1.

    **Reference:** Li, Harrison, Sohl-Dickstein, Smith, Metz (2023), arXiv 2304.12180.
    """

    estimator: AbstractEstimator
    workers_at_once: int
    references: ClassVar[tuple[str, ...]] = ("li2023",)

    def __init__(self, estimator: AbstractEstimator, workers_at_once: int):
        check_count(workers_at_once=workers_at_once)
        if not isinstance(estimator, AbstractEstimator):
            raise ValueError(f"estimator must be an estimator, got {estimator!r}")
        self.estimator = estimator
        self.workers_at_once = workers_at_once

    @property
    def num_workers(self) -> int:
        return self.estimator.num_workers

    @property
    def estimand(self) -> str:
        return self.estimator.estimand

    @property
    def needs_derivatives(self):
        return self.estimator.needs_derivatives

    @property
    def needs_copies(self):
        return self.estimator.needs_copies

    @property
    def num_rows(self):
        return self.estimator.num_rows

    def num_windows(self, horizon):
        return self.estimator.num_windows(horizon)

    def num_sequential_steps(self, horizon):
        return self.estimator.num_sequential_steps(horizon)

    def num_warmup_windows(self, horizon):
        return self.estimator.num_warmup_windows(horizon)

    def target(self, horizon):
        return self.estimator.target(horizon)

    def _draw_phases(self, num_windows, key):
        return self.estimator._draw_phases(num_windows, key)

    def _enlist(self, engine, params, key):
        return self.estimator._enlist(engine, params, key)

    def _advance(self, engine, params, workers):
        def advance(held, start, size):
            moved, found = held
            # States where they are put back to, the rest from before: an accumulator that is read
            # where it is written to would be copied for every chunk.
            old = eqx.tree_at(lambda w: w.trajectories, workers, moved.trajectories)
            new, chunk = self.estimator._advance(engine, params, old.block(start, size))
            return moved.put_block(chunk, start), jax.tree.map(jnp.add, found, new)

        chunk = min(self.workers_at_once, self.num_workers)
        first = jax.eval_shape(
            lambda: self.estimator._advance(engine, params, workers.block(0, chunk))[0]
        )
        none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
        held = rows.in_blocks(advance, (workers, none), self.num_workers, chunk)
        return held[1], held[0]
