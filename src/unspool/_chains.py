"""Independent chains of estimates, and what the same episodes ought to give."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from . import _rows as rows
from ._custom_types import Clocks, Params, RandomKey
from ._engine import MaskedEngine
from ._estimator import AbstractEstimator
from ._estimator.workers import Workers
from ._joint import JointProblem
from ._random import Purpose, part_keys, stream
from ._reference import EpisodeStart, sample_gradient

_EPISODES_OF_WORKER, _EPISODES_OF_ALL = 2, 2000
_Episodes = Int[Array, "episodes workers"]


class ChainPlan(NamedTuple):
    """The work of a chain.

    - `num_estimates`: how many it makes.
    - `num_episodes`: episodes of each worker that count.
    - `whole`: whether those are the first ones to begin after `init`. Otherwise all windows
      count, which add up to as many episodes wherever in an episode a worker is at first.
    """

    num_estimates: int
    num_episodes: int
    whole: bool

    @classmethod
    def of(cls, joint: JointProblem, estimator: AbstractEstimator, num_chains: int) -> "ChainPlan":
        # Few episodes make the noise of few chains skewed, which no correction mends altogether.
        least = -(-_EPISODES_OF_ALL // (estimator.num_workers * num_chains))
        num_episodes = max(_EPISODES_OF_WORKER, least)
        plan = estimator.plan(joint.horizon)
        num_windows = plan.num_windows
        whole = not joint.fixed_length or callable(plan.target.sigma)
        begun = num_windows - 1 if plan.num_warmup_windows else 0
        extra = begun if whole else 0
        return cls(num_episodes * num_windows + extra, num_episodes, whole)

    def mask(self, joint: JointProblem, first: Sequence[Clocks]) -> JointProblem:
        """The problems without the losses of episodes that do not count."""
        if not self.whole:
            return joint
        pairs = zip(joint.engines, first, strict=True)
        return JointProblem([MaskedEngine(*pair, self.num_episodes) for pair in pairs])


def run_chains(
    joint: JointProblem,
    estimator: AbstractEstimator,
    params: Params,
    keys: Key[Array, " chains"],
    plan: ChainPlan,
):
    """Per chain: what the estimates add up to for each episode, how the episodes of each problem
    began that count, and the workers dropped."""
    facts = estimator.plan(joint.horizon)
    num_warmup = facts.num_warmup_windows
    never = jnp.full(facts.num_groups, jnp.iinfo(jnp.result_type(int)).max)

    def begin(key):
        first = [never for _ in joint.engines]
        updates = [jnp.zeros((plan.num_episodes, never.size), int) for _ in joint.engines]
        workers = estimator.init_workers(plan.mask(joint, first), params, key)
        return key, (workers, first, updates)

    def chain(begun):
        key, carry = begun

        # The windows that spread the workers in `init` are the first ones of the same loop:
        # a program of their own would take as long to compile as all the rest.
        def window(carry, _):
            before, first, updates = carry
            start = lambda part, known: jnp.where(
                part.update == 0, part.next_episodes(part.each.episode), known
            )
            first = [start(*each) for each in zip(before, first, strict=True)]
            estimate, after = estimator.estimate(plan.mask(joint, first), params, before)
            each = zip(before, after, first, updates, strict=True)
            updates = [_note_update(*part) for part in each]
            found = rows.ravel(estimate.grad)[0], estimate.stats["dropped"]
            return (after, first, updates), found

        length = num_warmup + plan.num_estimates
        (_, first, updates), (grads, dropped) = jax.lax.scan(window, carry, length=length)
        keys = part_keys(stream(key, Purpose.REFERENCE), len(first))
        starts = [_starts(*part) for part in zip(keys, first, updates, strict=True)]
        total = jnp.sum(grads[num_warmup:], axis=0) / (facts.num_windows * plan.num_episodes)
        return total, starts, jnp.sum(dropped[num_warmup:])

    if not joint.copies_states:
        return jax.lax.map(lambda key: chain(begin(key)), keys)
    # In two maps the loop is traced once: of all that it starts with each chain has its own.
    return jax.vmap(chain)(jax.vmap(begin)(keys))


def _note_update(before: Workers, after: Workers, first: Clocks, updates: _Episodes) -> _Episodes:
    """The updates at which episodes began, with those that have begun at this one."""
    episode = after.each.episode
    reset = episode != before.each.episode
    index = (episode - first) // after.num_workers
    note = lambda number, known: jnp.where(reset & (index == number), before.update, known)
    return jax.vmap(note)(jnp.arange(len(updates)), updates)


def _starts(key: RandomKey, first: Clocks, updates: _Episodes) -> EpisodeStart:
    """Starts of episodes of one problem, alike in all but their randomness."""
    keys = jax.random.split(key, updates.shape)
    episodes = jax.vmap(lambda number: first + number * first.size)(jnp.arange(len(updates)))
    return EpisodeStart(keys, episodes, updates)


def simulate_references(
    joint: JointProblem,
    estimator: AbstractEstimator,
    params: Params,
    starts: list[EpisodeStart],
) -> Float[Array, "chains params"]:
    """Per chain, the mean gradient of episodes that begin as its own do."""
    facts = estimator.plan(joint.horizon)

    def of_part(part, starts):
        def one(start):
            sample = sample_gradient(
                part.problem, params, facts.target, start, facts.num_sequential_steps
            )
            return rows.ravel(sample)[0]

        return jnp.mean(jax.vmap(jax.vmap(one))(starts), axis=(0, 1))

    def chain(starts):
        pairs = zip(joint.engines, starts, strict=True)
        return jnp.mean(jnp.stack([of_part(*pair) for pair in pairs]), axis=0)

    return jax.vmap(chain)(starts)
