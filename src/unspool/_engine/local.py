"""Trajectories of a JAX problem in one compiled loop on one device."""

import functools as ft
from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, Shaped

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, KeyLike, Params, RowLosses
from .._episodes import check_episodes
from .._params import as_arrays, check_params
from .._problem import AbstractProblem
from .._random import Purpose, as_key, numbered, stream
from .base import AbstractEngine, Arms, Clock, Trajectories, check_horizon
from .check_problem import check_problem
from .sum_losses import ARMS, sum_losses

# Half of a small core's second cache or less: a step needs room besides the state.
_CACHE_BYTES = 2**18


class LocalEngine(AbstractEngine):
    """Runs an `AbstractProblem` on the local device.

    **Arguments:**

    - `problem`: the trajectory to run.
    - `workers_at_once`: how many workers advance together. More fill an accelerator's lanes,
      fewer keep their states in a processor's cache. By default all of them on an accelerator,
      and on a processor as many as have 256 KiB of states, but at least one. Results do not
      depend on it beyond rounding.

    **Example:**

    >>> engine = unspool.LocalEngine(unspool.problems.InfluenceBalancing(), workers_at_once=8)
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(engine, estimator, optax.adam(0.02))
    >>> engine.horizon
    100
    """

    problem: AbstractProblem
    workers_at_once: int | None = eqx.field(default=None, static=True)
    differentiable: ClassVar[bool] = True

    def __check_init__(self):
        if not isinstance(self.problem, AbstractProblem):
            raise ValueError(
                f"problem must be an instance of AbstractProblem, got {self.problem!r}"
                + (" (a class: call it first)" if isinstance(self.problem, type) else "")
            )
        check_horizon(self.problem.horizon)
        check_episodes(self.problem)
        check_count(workers_at_once=self.workers_at_once)

    @property
    def horizon(self) -> int:
        return self.problem.horizon

    @property
    def ends_early(self) -> bool:
        return self.problem.episodes.ends_early

    @property
    def fixed_length(self) -> bool:
        return not (self.ends_early or self.problem.episodes.random_length)

    def init_params(self, *, key: KeyLike) -> Params:
        return as_arrays(self.problem.init_params(key=as_key(key)))

    def check(self, params: Params) -> None:
        check_params(params)
        check_problem(self.problem, params)

    def start(
        self,
        params: Params,
        keys: Key[Array, " workers"],
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> Trajectories:
        def one(shift, key):
            return self._init_state(rows.add(params, shift), key)

        if shift is None:
            state = rows.arms(jax.vmap(ft.partial(one, None))(keys))
        else:
            state = jax.vmap(jax.vmap(one), in_axes=(0, None))(shift, keys)
        num_arms = 1 if shift is None else jax.tree.leaves(shift)[0].shape[0]
        begun = Trajectories.begin(state, num_arms, keys, self._draw_length(keys))
        is_done = self.problem.episodes.is_done
        if is_done is None:
            return begun
        return replace(begun, arms=replace(begun.arms, done=jax.vmap(jax.vmap(is_done))(state)))

    def shorten(self, trajectories: Trajectories, episodes: Clocks) -> Trajectories:
        max_length = self.problem.episodes.max_length
        if max_length is None:
            return trajectories
        most = jnp.clip(jax.vmap(max_length)(episodes), 1, self.horizon)
        clock = trajectories.clock
        length = jnp.minimum(clock.length, most.astype(clock.length.dtype))
        return replace(trajectories, clock=replace(clock, length=length))

    def unroll(
        self,
        params: Params,
        trajectories: Trajectories,
        num_steps: int,
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> tuple[Trajectories, RowLosses]:
        def row(shift, arm, clock):
            mine = rows.add(params, shift)
            if self._may_end_within(num_steps):
                # What frozen rows would have done beyond their end is not differentiated.
                arm = replace(arm, state=rows.constant_where(arm.done, arm.state))
                mine = mine if shift is None else rows.constant_where(arm.done, mine)
            return self._unroll_row(mine, arm, clock, num_steps)

        run = jax.vmap(jax.vmap(row), in_axes=(0, 0, None), axis_name=ARMS)
        arms, clock = trajectories.arms, trajectories.clock
        num_workers = clock.t.size
        at_once = self._choose_workers_at_once(arms.state, num_workers)
        if at_once >= num_workers:
            after, losses = run(shift, arms, clock)
        else:
            after, losses = _in_blocks(run, shift, trajectories, at_once, num_steps)
        t = jnp.minimum(clock.t + num_steps, clock.length)
        return Trajectories(after, replace(clock, t=t)), losses

    def _init_state(self, params, key):
        state = self.problem.init_state(params, key=stream(key, Purpose.START))
        return rows.strip_weak_type(state)

    def _draw_length(self, keys: Key[Array, " workers"]) -> Clocks:
        draw_length = self.problem.episodes.draw_length
        if draw_length is None:
            return jnp.full(keys.shape[0], self.horizon, int)
        draw = lambda key: draw_length(key=stream(key, Purpose.LENGTH))
        return jnp.clip(jax.vmap(draw)(keys), 1, self.horizon).astype(int)

    def _unroll_row(self, params, arm: Arms, clock: Clock, num_steps: int):
        """One row `num_steps` later, and the sum of its losses."""
        weight_of, steps_key = self.problem.episodes.weight, stream(clock.key, Purpose.STEP)
        weight = 1.0 if weight_of is None else weight_of(clock.length)

        def step(state, t):
            state, loss = self.problem.step(params, state, t, key=numbered(steps_key, t))
            loss = jnp.asarray(rows.multiply(loss, weight), jnp.result_type(float))
            return rows.strip_weak_type(state), loss

        if self._may_end_within(num_steps):
            return self._unroll_until_done(step, arm, clock, num_steps)
        return self._unroll_whole(step, arm, clock, num_steps)

    def _may_end_within(self, num_steps: int) -> bool:
        """True if a row's episode may end before the last step of a segment."""
        return not self.fixed_length or self.horizon % num_steps > 0

    def _unroll_whole(self, step, arm: Arms, clock: Clock, num_steps: int):
        """Runs all steps of a row or none, where episodes end only with a segment.

        To settle that once, and not in every step, halves the cost of a small step.
        """
        done, t, end = arm.done, clock.t, clock.t + num_steps
        advance = lambda state, i: step(state, t + i)
        after, loss = sum_losses(advance, arm.state, num_steps, t.dtype)
        state, loss = rows.select(done, (arm.state, jnp.zeros_like(loss)), (after, loss))
        overrun = ~done & (end > clock.length)
        taken = jnp.where(done, arm.taken, arm.taken + num_steps)
        after = Arms(state, done | (end >= clock.length), taken)
        return after, jnp.where(overrun, jnp.nan, loss)

    def _unroll_until_done(self, step, arm: Arms, clock: Clock, num_steps: int):
        """A row may end at any step, and is frozen from then on.

        For a frozen row its last step is repeated, from the state before it. Nobody looks at the
        outcome, but it is differentiated all the same, and zero times infinity is no number:
        that step's derivative has been used already, that of a step beyond the end may not exist.
        """
        is_done = self.problem.episodes.is_done

        def advance(carry, _):
            arm, last = carry
            done, taken = arm.done, arm.taken
            before = rows.select(done, last, arm.state)
            after, loss = step(before, jnp.where(done & (taken > 0), taken - 1, taken))
            state = rows.select(done, arm.state, after)
            loss = jnp.where(done, jnp.zeros_like(loss), loss)
            taken = jnp.where(done, taken, taken + 1)
            done = done | (taken >= clock.length)
            if is_done is not None:
                done = done | is_done(after)
            return (Arms(state, done, taken), before), loss

        carry = arm, arm.state
        (arm, _), loss = sum_losses(advance, carry, num_steps, clock.length.dtype)
        return arm, loss

    def _choose_workers_at_once(self, state, num_workers: int) -> int:
        if self.workers_at_once is not None:
            return self.workers_at_once
        if jax.default_backend() != "cpu":
            return num_workers
        bytes_of_one = rows.num_bytes(state) / num_workers
        most = max(1, int(_CACHE_BYTES / max(bytes_of_one, 1)))
        num_blocks = -(-num_workers // most)
        return -(-num_workers // num_blocks)


def _in_blocks(run, shift, trajectories: Trajectories, at_once: int, num_steps: int):
    """The result of `run(shift, arms, clock)`, for `at_once` workers after the other.

    A block all of whose rows are done is left as it is: half of them while workers are spread.

    Blocks are put back where they were taken from, except that a single step, which the compiler
    fuses with the putting back, would make it copy all rows for every block.
    """
    arms, clock = trajectories.arms, trajectories.clock

    def run_block(held, start, size):
        source = held[0] if num_steps > 1 else arms
        mine, block = rows.take_slice((shift, source), start, size, axis=1)
        now = rows.take_slice(clock, start, size, axis=0)
        nothing = jnp.zeros(block.done.shape, held[1].dtype)
        outputs = jax.lax.cond(
            jnp.all(block.done), lambda: (block, nothing), lambda: run(mine, block, now)
        )
        return rows.update_slice(held, outputs, start, axis=1)

    held = arms, jnp.zeros(arms.done.shape, jnp.result_type(float))
    return rows.in_blocks(run_block, held, clock.t.size, at_once)
