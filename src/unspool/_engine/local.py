"""Trajectories of a JAX problem in one compiled loop on one device."""

import functools as ft
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, Shaped

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, Params, RandomKey, RowLosses
from .._problem import AbstractProblem
from .._random import Purpose, numbered, stream
from .base import AbstractEngine, Trajectories, check_horizon, check_params

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
        return type(self.problem).is_over is not AbstractProblem.is_over

    @property
    def random_length(self) -> bool:
        return not self.problem.fixed_length

    @property
    def fixed_length(self) -> bool:
        return not (self.ends_early or self.random_length)

    def init_params(self, *, key: RandomKey) -> Params:
        return rows.strong(self.problem.init_params(key=key))

    def check(self, params: Params) -> None:
        check_params(params)
        key = jax.eval_shape(lambda: jax.random.key(0))
        t = jax.ShapeDtypeStruct((), jnp.result_type(int))
        before = jax.eval_shape(lambda p, k: self._init_state(p, k), params, key)
        step = lambda p, s, t, k: self.problem.step(p, s, t, key=k)
        stepped = jax.eval_shape(step, params, before, t, key)
        if not isinstance(stepped, tuple) or len(stepped) != 2:
            raise ValueError(f"step must return a pair (state, loss), got {type(stepped).__name__}")
        after, loss = stepped
        if getattr(loss, "shape", None) != () or loss.dtype.kind not in "fiub":
            raise ValueError(
                "the loss that step returns must be a real scalar of shape (), "
                f"got {_describe(loss)}"
            )
        _check_same_state(before, after)
        over = jax.eval_shape(self.problem.is_over, before)
        if getattr(over, "shape", None) != () or over.dtype != bool:
            raise ValueError(f"is_over must return a boolean of shape (), got {_describe(over)}")

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
            length = lambda key: self.problem.draw_length(key=stream(key, Purpose.LENGTH))
            end = jnp.clip(jax.vmap(length)(keys), 1, self.horizon).astype(int)
        else:
            end = jnp.full(num_workers, self.horizon, int)
        if self.ends_early:
            over = jax.vmap(jax.vmap(self.problem.is_over))(state)
        else:
            over = jnp.zeros((num_arms, num_workers), bool)
        return Trajectories(state, over, jnp.zeros_like(end), end, keys)

    def shorten(self, trajectories: Trajectories, births: Clocks) -> Trajectories:
        if not self.random_length:
            return trajectories
        most = jnp.clip(jax.vmap(self.problem.longest)(births), 1, self.horizon)
        end = jnp.minimum(trajectories.end, most.astype(trajectories.end.dtype))
        return eqx.tree_at(lambda x: x.end, trajectories, end)

    def unroll(
        self,
        params: Params,
        trajectories: Trajectories,
        num_steps: int,
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> tuple[Trajectories, RowLosses]:
        def row(shift, state, over, t, end, key):
            return self._unroll_row(rows.add(params, shift), state, over, t, end, key, num_steps)

        workers = jax.vmap(row, in_axes=(0, 0, 0, 0, 0, 0))
        run = jax.vmap(workers, in_axes=(0, 0, 0, None, None, None))
        state, t, end = trajectories.state, trajectories.t, trajectories.end
        each, clock = (shift, state, trajectories.over), (t, end, trajectories.key)
        num_workers, at_once = t.size, self._choose_workers_at_once(state, t.size)
        if at_once >= num_workers:
            state, over, losses = run(*each, *clock)
        else:
            # Blocks are put back where they were taken from, except that a single step, which the
            # compiler fuses with the putting back, would make it copy all rows for every block.
            def run_block(held, start, size):
                source = held if num_steps > 1 else each[1:]
                inputs = rows.block((shift, *source[:2]), start, size, axis=1)
                outputs = run(*inputs, *rows.block(clock, start, size, axis=0))
                return rows.put_block(held, outputs, start, axis=1)

            held = state, trajectories.over, jnp.zeros(each[-1].shape, jnp.result_type(float))
            state, over, losses = rows.in_blocks(run_block, held, num_workers, at_once)
        t = jnp.minimum(t + num_steps, end)
        return Trajectories(state, over, t, end, trajectories.key), losses

    def _init_state(self, params, key):
        state = self.problem.init_state(params, key=stream(key, Purpose.START))
        return rows.strong(state)

    def _unroll_row(self, params, state, over, t, end, key, num_steps):
        """One row, `num_steps` on. Steps past the end leave the state and add nothing."""
        weight, steps_key = self.problem.weight(end), stream(key, Purpose.STEP)
        # Where episodes can only end with a stretch, a row is over for all of it or not at all, and
        # to settle that once, not every step, halves the cost of a small step.
        ends_between = not (self.ends_early or self.random_length or self.horizon % num_steps)

        def step(state, t):
            now = jnp.minimum(t, end - 1)
            state, loss = self.problem.step(params, state, now, key=numbered(steps_key, now))
            return rows.strong(state), loss * weight

        def settle(before, after, t):
            """Leaves what was over as it was; ends what is over now."""
            state, over, total = rows.where(before[1], before, after)
            over = over | (t >= end)
            return state, over | self.problem.is_over(state) if self.ends_early else over, total

        def body(before, i):
            state, over, total = before
            state, loss = step(state, t + i)
            after = state, over, total + jnp.asarray(loss, total.dtype)
            return after if ends_between else settle(before, after, t + i + 1), None

        start = state, over, jnp.zeros((), jnp.result_type(float))
        steps = jnp.arange(num_steps, dtype=t.dtype)
        after, _ = jax.lax.scan(body, start, steps)
        if not ends_between:
            return after
        state, over, total = settle(start, after, t + num_steps)
        overrun = ~start[1] & (t + num_steps > end)
        return state, over, jnp.where(overrun, jnp.nan, total)

    def _choose_workers_at_once(self, state, num_workers: int) -> int:
        if self.workers_at_once is not None:
            return self.workers_at_once
        if jax.default_backend() != "cpu":
            return num_workers
        bytes_of_one = rows.num_bytes(state) / num_workers
        most = max(1, int(_CACHE_BYTES / max(bytes_of_one, 1)))
        num_blocks = -(-num_workers // most)
        return -(-num_workers // num_blocks)


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
