"""Independent chains of estimates, and what the same episodes ought to give."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from . import _rows as rows
from ._custom_types import Clocks, Params, RandomKey
from ._engine import AbstractEngine, JointEngine, MaskedEngine
from ._estimator import AbstractEstimator
from ._estimator.base import EstimatorState
from ._estimator.workers import Workers
from ._random import Purpose, part_keys, stream
from ._reference import EpisodeStart, sample_gradient

_EPISODES_OF_WORKER, _EPISODES_OF_ALL = 2, 2000
_Episodes = Int[Array, "episodes workers"]


class Plan(NamedTuple):
    """What a chain does.

    - `num_estimates`: how many it makes.
    - `num_episodes`: episodes of each worker that count.
    - `whole`: whether those are the first ones to begin after `init`. Otherwise all windows
      count, which add up to as many episodes wherever in an episode a worker is at first.
    """

    num_estimates: int
    num_episodes: int
    whole: bool

    @classmethod
    def of(cls, engine: AbstractEngine, estimator: AbstractEstimator, num_chains: int) -> "Plan":
        # Few episodes make the noise of few chains skewed, which no correction mends altogether.
        least = -(-_EPISODES_OF_ALL // (estimator.num_workers * num_chains))
        num_episodes = max(_EPISODES_OF_WORKER, least)
        num_windows = estimator.num_windows(engine.horizon)
        whole = not engine.fixed_length or callable(estimator.target(engine.horizon).sigma)
        begun = num_windows - 1 if estimator.num_warmup_windows(engine.horizon) else 0
        extra = begun if whole else 0
        return cls(num_episodes * num_windows + extra, num_episodes, whole)

    def mask(self, engine: AbstractEngine, first: Sequence[Clocks]) -> AbstractEngine:
        """The engine without the losses of episodes that do not count."""
        if not self.whole:
            return engine
        pairs = zip(engine.parts, first, strict=True)
        parts = [MaskedEngine(part, each, self.num_episodes) for part, each in pairs]
        return JointEngine(parts) if len(parts) > 1 else parts[0]


def run_chains(
    engine: AbstractEngine,
    estimator: AbstractEstimator,
    params: Params,
    keys: Key[Array, " chains"],
    plan: Plan,
):
    """Per chain: what the estimates add up to for each episode, how the episodes of each problem
    began that count, and the workers dropped."""
    num_windows = estimator.num_windows(engine.horizon)

    def chain(key):
        never = jnp.full(estimator.num_workers, jnp.iinfo(jnp.result_type(int)).max)
        masked = plan.mask(engine, [never for _ in engine.parts])
        workers = estimator.init(masked, params, key=key)
        first = [part.birth + part.num_workers for part in _parts(workers)]
        masked = plan.mask(engine, first)

        def estimate(carry, _):
            before, updates = carry
            estimate, after = estimator.estimate(masked, params, before)
            each = zip(_parts(before), _parts(after), first, updates, strict=True)
            updates = [_note_update(*part) for part in each]
            return (after, updates), (rows.ravel(estimate.grad)[0], estimate.stats["dropped"])

        updates = [jnp.zeros((plan.num_episodes, never.size), int) for _ in first]
        carry = workers, updates
        (_, updates), (grads, dropped) = jax.lax.scan(estimate, carry, length=plan.num_estimates)
        keys = part_keys(stream(key, Purpose.REFERENCE), len(first))
        starts = [_starts(*part) for part in zip(keys, first, updates, strict=True)]
        total = jnp.sum(grads, axis=0) / (num_windows * plan.num_episodes)
        return total, starts, jnp.sum(dropped)

    return jax.vmap(chain)(keys) if engine.copies_states else jax.lax.map(chain, keys)


def _parts(workers: EstimatorState) -> tuple[Workers, ...]:
    return (workers,) if isinstance(workers, Workers) else workers


def _note_update(before: Workers, after: Workers, first: Clocks, updates: _Episodes) -> _Episodes:
    """The updates at which episodes began, with those that have begun at this one."""
    newborn = after.birth != before.birth
    index = (after.birth - first) // after.num_workers
    note = lambda number, known: jnp.where(newborn & (index == number), before.update, known)
    return jax.vmap(note)(jnp.arange(len(updates)), updates)


def _starts(key: RandomKey, first: Clocks, updates: _Episodes) -> EpisodeStart:
    """Starts of episodes of one problem, alike in all but their randomness."""
    keys = jax.random.split(key, updates.shape)
    births = jax.vmap(lambda number: first + number * first.size)(jnp.arange(len(updates)))
    return EpisodeStart(keys, births, updates)


def simulate_references(
    engine: AbstractEngine,
    estimator: AbstractEstimator,
    params: Params,
    starts: list[EpisodeStart],
) -> Float[Array, "chains params"]:
    """Per chain, the mean gradient of episodes that begin as its own do."""
    target = estimator.target(engine.horizon)
    steps_per_update = estimator.num_sequential_steps(engine.horizon)

    def of_part(part, starts):
        def one(start):
            sample = sample_gradient(part.problem, params, target, start, steps_per_update)
            return rows.ravel(sample)[0]

        return jnp.mean(jax.vmap(jax.vmap(one))(starts), axis=(0, 1))

    def chain(starts):
        pairs = zip(engine.parts, starts, strict=True)
        return jnp.mean(jnp.stack([of_part(*pair) for pair in pairs]), axis=0)

    return jax.vmap(chain)(starts)
