from dataclasses import replace
from typing import ClassVar

import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count, check_divides
from .base import AbstractEstimator
from .blocks import take_block, update_block


class Chunked(AbstractEstimator):
    r"""Runs another estimator in less memory, some of its workers at a time.

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

    **Example:**

    >>> estimator = unspool.NRES(num_workers=256, window=10, sigma=0.1)
    >>> chunked = unspool.Chunked(estimator, workers_at_once=8)
    >>> chunked.plan(horizon=100) == estimator.plan(horizon=100)
    True

    **Reference:** Li, Harrison, Sohl-Dickstein, Smith, Metz (2023), arXiv 2304.12180.
    """

    estimator: AbstractEstimator
    workers_at_once: int
    references: ClassVar[tuple[str, ...]] = ("li2023",)

    def __init__(self, estimator: AbstractEstimator, workers_at_once: int):
        check_count(workers_at_once=workers_at_once)
        if not isinstance(estimator, AbstractEstimator):
            raise ValueError(f"estimator must be an estimator, got {estimator!r}")
        pairs = estimator.plan(1).pairs_per_group
        check_divides("workers_at_once", workers_at_once, "pairs_per_group", pairs)
        self.estimator = estimator
        self.workers_at_once = workers_at_once

    @property
    def num_workers(self) -> int:
        return self.estimator.num_workers

    @property
    def estimand(self) -> str:
        return self.estimator.estimand

    @property
    def scale(self):
        return self.estimator.scale

    def check_start(self, problem, params, key):
        self.estimator.check_start(problem, params, key)

    def plan(self, horizon):
        return self.estimator.plan(horizon)

    def init_part(self, engine, params, key):
        return self.estimator.init_part(engine, params, key)

    def learn(self, workers, sums):
        return self.estimator.learn(workers, sums)

    def advance(self, engine, params, workers):
        def advance(held, start, size):
            moved, found = held
            # States where they are put back to, the rest from before: an accumulator that is read
            # where it is written to would be copied for every chunk.
            old = replace(workers, trajectories=moved.trajectories)
            new, chunk = self.estimator.advance(engine, params, take_block(old, start, size))
            return update_block(moved, chunk, start), jax.tree.map(jnp.add, found, new)

        plan = self.plan(engine.horizon)
        groups = min(self.workers_at_once // plan.pairs_per_group, plan.num_groups)
        first = jax.eval_shape(
            lambda: self.estimator.advance(engine, params, take_block(workers, 0, groups))[0]
        )
        none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
        held = rows.in_blocks(advance, (workers, none), plan.num_groups, groups)
        return held[1], held[0]
