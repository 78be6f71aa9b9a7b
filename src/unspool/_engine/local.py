"""Trajectories of a JAX problem in one compiled loop on one device."""

import functools as ft
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, Shaped

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, KeyLike, Params, RowLosses
from .._params import as_arrays, check_params
from .._problem import AbstractProblem
from .._random import Purpose, as_key, numbered, seeded_key, stream
from .base import AbstractEngine, Arms, Clock, Trajectories, check_horizon

# Half of a small core's second cache or less: a step needs room besides the state.
_CACHE_BYTES = 2**18

# So few losses are added up without compensation, which would cost a small step half of its speed.
_BLOCK = 128
_ARMS = "arms"


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
        check_count(workers_at_once=self.workers_at_once)

    @property
    def horizon(self) -> int:
        return self.problem.horizon

    @property
    def ends_early(self) -> bool:
        return self.problem.ends_early

    @property
    def random_length(self) -> bool:
        return not self.problem.fixed_length

    @property
    def fixed_length(self) -> bool:
        return not (self.ends_early or self.random_length)

    def init_params(self, *, key: KeyLike) -> Params:
        return as_arrays(self.problem.init_params(key=as_key(key)))

    def check(self, params: Params) -> None:
        check_params(params)
        key = jax.eval_shape(lambda: seeded_key(0))
        t = jax.ShapeDtypeStruct((), jnp.result_type(int))
        arrays, others = eqx.partition(params, eqx.is_array)
        whole = lambda arrays: eqx.combine(arrays, others)
        before = jax.eval_shape(lambda p, k: self._init_state(whole(p), k), arrays, key)
        step = lambda p, s, t, k: self.problem.step(whole(p), s, t, key=k)
        stepped = jax.eval_shape(step, arrays, before, t, key)
        if not isinstance(stepped, tuple) or len(stepped) != 2:
            raise ValueError(f"step must return a pair (state, loss), got {type(stepped).__name__}")
        after, loss = stepped
        if getattr(loss, "shape", None) != () or not _is_real(loss.dtype):
            raise ValueError(
                "the loss that step returns must be a real scalar of shape (), "
                f"got {_describe(loss)}"
            )
        _check_same_state(before, after)
        done = jax.eval_shape(self.problem.is_done, before)
        if getattr(done, "shape", None) != () or done.dtype != bool:
            raise ValueError(f"is_done must return a boolean of shape (), got {_describe(done)}")

    def start(
        self,
        params: Params,
        keys: Key[Array, " workers"],
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> Trajectories:
        def one(shift, key):
            return self._init_state(rows.add(params, shift), key)

        num_workers = keys.shape[0]
        if shift is None:
            state = rows.arms(jax.vmap(ft.partial(one, None))(keys))
        else:
            state = jax.vmap(jax.vmap(one), in_axes=(0, None))(shift, keys)
        num_arms = 1 if shift is None else jax.tree.leaves(shift)[0].shape[0]
        if self.random_length:
            draw = lambda key: self.problem.draw_length(key=stream(key, Purpose.LENGTH))
            length = jnp.clip(jax.vmap(draw)(keys), 1, self.horizon).astype(int)
        else:
            length = jnp.full(num_workers, self.horizon, int)
        if self.ends_early:
            done = jax.vmap(jax.vmap(self.problem.is_done))(state)
        else:
            done = jnp.zeros((num_arms, num_workers), bool)
        taken = jnp.zeros((num_arms, num_workers), int)
        clock = Clock(jnp.zeros_like(length), length, keys)
        return Trajectories(Arms(state, done, taken), clock)

    def shorten(self, trajectories: Trajectories, episodes: Clocks) -> Trajectories:
        if not self.random_length:
            return trajectories
        most = jnp.clip(jax.vmap(self.problem.max_length)(episodes), 1, self.horizon)
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

        run = jax.vmap(jax.vmap(row), in_axes=(0, 0, None), axis_name=_ARMS)
        arms, clock = trajectories.arms, trajectories.clock
        num_workers = clock.t.size
        at_once = self._choose_workers_at_once(arms.state, num_workers)
        if at_once >= num_workers:
            after, losses = run(shift, arms, clock)
        else:
            # Blocks are put back where they were taken from, except that a single step, which the
            # compiler fuses with the putting back, would make it copy all rows for every block.
            def run_block(held, start, size):
                source = held[0] if num_steps > 1 else arms
                mine, block = rows.take_slice((shift, source), start, size, axis=1)
                outputs = run(mine, block, rows.take_slice(clock, start, size, axis=0))
                return rows.update_slice(held, outputs, start, axis=1)

            held = arms, jnp.zeros(arms.done.shape, jnp.result_type(float))
            after, losses = rows.in_blocks(run_block, held, num_workers, at_once)
        t = jnp.minimum(clock.t + num_steps, clock.length)
        return Trajectories(after, replace(clock, t=t)), losses

    def _init_state(self, params, key):
        state = self.problem.init_state(params, key=stream(key, Purpose.START))
        return rows.strip_weak_type(state)

    def _unroll_row(self, params, arm: Arms, clock: Clock, num_steps: int):
        """One row `num_steps` later, and the sum of its losses."""
        weight, steps_key = self.problem.weight(clock.length), stream(clock.key, Purpose.STEP)

        def step(state, t):
            state, loss = self.problem.step(params, state, t, key=numbered(steps_key, t))
            loss = jnp.asarray(rows.multiply(loss, weight), jnp.result_type(float))
            return rows.strip_weak_type(state), loss

        if self._may_end_within(num_steps):
            return self._unroll_until_done(step, arm, clock, num_steps)
        return self._unroll_whole(step, arm, clock, num_steps)

    def _may_end_within(self, num_steps: int) -> bool:
        """Whether a row's episode may end before the last step of a segment."""
        return self.ends_early or self.random_length or self.horizon % num_steps > 0

    def _unroll_whole(self, step, arm: Arms, clock: Clock, num_steps: int):
        """Where episodes end only with a segment, a row runs all of its steps or none.

        To settle that once, and not in every step, halves the cost of a small step.
        """
        done, t, end = arm.done, clock.t, clock.t + num_steps
        advance = lambda state, i: step(state, t + i)
        after, loss = _sum_losses(advance, arm.state, num_steps, t.dtype)
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

        def advance(carry, _):
            arm, last = carry
            done, taken = arm.done, arm.taken
            before = rows.select(done, last, arm.state)
            after, loss = step(before, jnp.where(done & (taken > 0), taken - 1, taken))
            state = rows.select(done, arm.state, after)
            loss = jnp.where(done, jnp.zeros_like(loss), loss)
            taken = jnp.where(done, taken, taken + 1)
            done = done | (taken >= clock.length)
            if self.ends_early:
                done = done | self.problem.is_done(after)
            return (Arms(state, done, taken), before), loss

        carry = arm, arm.state
        (arm, _), loss = _sum_losses(advance, carry, num_steps, clock.length.dtype)
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


def _sum_losses(advance, row, num_steps: int, kind):
    """The row after `num_steps` times `advance(row, step)`, and the sum of the losses.

    An arm's losses are added up as what they exceed the first arm's by: sums of large losses,
    rounded step by step, would lose the difference of a pair. Blocks of steps are added up with
    compensation.
    """
    is_first = jax.lax.axis_index(_ARMS) == 0
    of_first = lambda x: jax.lax.all_gather(x, _ARMS)[0]

    def add_up(row, first, count):
        def one(carry, _):
            row, total, i = carry
            row, loss = advance(row, i)
            return (row, total + jnp.where(is_first, loss, loss - of_first(loss)), i + 1), None

        carry = row, jnp.zeros((), jnp.result_type(float)), jnp.asarray(first, kind)
        return jax.lax.scan(one, carry, length=count)[0][:2]

    def block(carry, first):
        row, total = carry
        row, part = add_up(row, first, size)
        return (row, total.add(part)), None

    if num_steps <= _BLOCK:
        row, total = add_up(row, 0, num_steps)
    else:
        # Steps that are left over are compiled once more, so that a divisor is worth looking for.
        size = max(n for n in range(1, _BLOCK + 1) if num_steps % n == 0)
        size = size if size > _BLOCK // 4 else _BLOCK
        rest = num_steps % size
        firsts = jnp.arange(0, num_steps - rest, size, dtype=kind)
        (row, blocks), _ = jax.lax.scan(block, (row, rows.Sum.zero()), firsts)
        if rest:
            row, part = add_up(row, num_steps - rest, rest)
            blocks = blocks.add(part)
        total = blocks.value
    return row, jnp.where(is_first, total, total + of_first(total))


def _is_real(dtype: Any) -> bool:
    """Whether numbers of this type can be losses; NumPy does not know of all that JAX has."""
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _describe(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)


def _check_same_state(before: PyTree, after: PyTree) -> None:
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise ValueError(
            f"step must return a state of the structure that init_state returned, "
            f"{jax.tree.structure(before)}, got {jax.tree.structure(after)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in pairs:
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} must keep its shape and type: init_state "
                f"returned {_describe(old)}, step returned {_describe(new)}"
            )
