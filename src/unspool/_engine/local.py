"""Trajectories of a JAX problem in one compiled loop on one device."""

import functools as ft
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, Shaped

from .. import _rows as rows
from .._custom_types import Params, RandomKey, RowLosses
from .._problem import AbstractProblem
from .._random import Purpose, stream
from .base import AbstractEngine, Trajectories, check_params

_CACHE_BYTES = 2**20


class LocalEngine(AbstractEngine):
    """Runs an `AbstractProblem` on the local device.

    **Arguments:**

    - `problem`: the trajectory to run.
    - `workers_at_once`: how many workers advance together. More fill an accelerator's lanes,
      fewer keep a large state in a processor's cache. By default all of them while one
      worker's states are under 1 MiB, else one after the other. Results do not depend on it
      beyond rounding.
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
        horizon = self.problem.horizon
        if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
            raise ValueError(f"horizon must be an integer of at least 1, got {horizon!r}")
        if self.workers_at_once is not None and self.workers_at_once < 1:
            raise ValueError(f"workers_at_once must be at least 1, got {self.workers_at_once}")

    @property
    def horizon(self) -> int:
        return self.problem.horizon

    @property
    def ends_early(self) -> bool:
        return type(self.problem).is_over is not AbstractProblem.is_over

    @property
    def random_length(self) -> bool:
        return type(self.problem).draw_length is not AbstractProblem.draw_length

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

    def unroll(
        self,
        params: Params,
        trajectories: Trajectories,
        num_steps: int,
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> tuple[Trajectories, RowLosses]:
        def row(shift, state, over, t, end, key):
            return self._unroll_row(rows.add(params, shift), state, over, t, end, key, num_steps)

        arms = jax.vmap(row, in_axes=(0, 0, 0, None, None, None))
        clock = (trajectories.t, trajectories.end, trajectories.key)
        each = (shift, trajectories.state, trajectories.over)
        num_workers = trajectories.t.shape[0]
        at_once = self._choose_workers_at_once(trajectories.state, num_workers)
        if at_once >= num_workers:
            worker = jax.vmap(row, in_axes=(0, 0, 0, 0, 0, 0))
            result = jax.vmap(worker, in_axes=(0, 0, 0, None, None, None))(*each, *clock)
        else:
            by_worker = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), each)
            one = lambda xs: arms(*xs[0], *xs[1])
            mapped = jax.lax.map(one, (by_worker, clock), batch_size=at_once)
            result = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), mapped)
        state, over, losses = result
        t = jnp.minimum(trajectories.t + num_steps, trajectories.end)
        return (
            Trajectories(state, over, t, trajectories.end, trajectories.key),
            losses,
        )

    def _init_state(self, params, key):
        state = self.problem.init_state(params, key=stream(key, Purpose.START))
        return rows.strong(state)

    def _unroll_row(self, params, state, over, t, end, key, num_steps):
        """One row, `num_steps` on. Steps past the end leave the state and add nothing."""
        weight = self.problem.weight(end)

        def body(carry, i):
            state, over, total = carry
            now = jnp.minimum(t + i, end - 1)
            key_now = stream(key, Purpose.STEP, now)
            stepped, loss = self.problem.step(params, state, now, key=key_now)
            stepped = rows.strong(stepped)
            loss = jnp.asarray(loss * weight, total.dtype)
            state = rows.where(over, state, stepped)
            total = total + jnp.where(over, 0, loss)
            over = over | (t + i + 1 >= end)
            if self.ends_early:
                over = over | self.problem.is_over(state)
            return (state, over, total), None

        total = jnp.zeros((), jnp.result_type(float))
        steps = jnp.arange(num_steps, dtype=t.dtype)
        (state, over, total), _ = jax.lax.scan(body, (state, over, total), steps)
        return state, over, total

    def _choose_workers_at_once(self, state, num_workers: int) -> int:
        if self.workers_at_once is not None:
            return self.workers_at_once
        leaves = [x for x in jax.tree.leaves(state) if eqx.is_inexact_array(x)]
        bytes_of_one = sum(x.nbytes for x in leaves) / num_workers
        return num_workers if bytes_of_one < _CACHE_BYTES else 1


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


def as_engine(engine: AbstractEngine | AbstractProblem) -> AbstractEngine:
    """An engine as it is; a problem wrapped in `LocalEngine`."""
    return engine if isinstance(engine, AbstractEngine) else LocalEngine(engine)
