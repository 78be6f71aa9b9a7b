"""Trajectories of simulators on the host, behind one callback for each segment."""

import functools as ft
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Key, PyTree, Shaped

from .. import _rows as rows
from .._black_box import AbstractBlackBox
from .._custom_types import KeyLike, Params, RowLosses
from .._params import as_arrays, check_params
from .._random import Purpose, as_key, numbered, seeded_key, stream
from .base import AbstractEngine, Arms, Trajectories
from .callback import advance_on_host, as_words
from .executor import AbstractExecutor
from .local_executor import LocalExecutor
from .make_runner import make_runner
from .segment import Segment


class AbstractHostEngine(AbstractEngine):
    """Has an executor run rows, as many steps at a time as lie between two looks at them.

    A state that comes out of the host travels as the bits that it is: an episode goes on in double
    precision whatever JAX computes in. Where it does not come out, what travels is a stamp by which
    the simulator is known, and callbacks are kept in order.
    """

    executor: eqx.AbstractVar[AbstractExecutor]
    differentiable: ClassVar[bool] = False

    @property
    def problem(self) -> AbstractBlackBox:
        return self.executor.problem

    @property
    def horizon(self) -> int:
        return self.problem.horizon

    @property
    def fixed_length(self) -> bool:
        return self.executor.runner.fixed_length

    @property
    def copies_states(self) -> bool:
        return self.executor.runner.copies_states

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(self.executor.failures.texts)

    def init_params(self, *, key: KeyLike) -> Params:
        return as_arrays(self.problem.init_params(key=as_key(key)))

    def check(self, params: Params) -> None:
        check_params(params)
        _check_kinds(params)
        wanted = eqx.filter_eval_shape(lambda: self.init_params(key=seeded_key(0)))
        shapes = lambda tree: jax.tree.map(lambda x: getattr(x, "shape", None), tree)
        if shapes(wanted) != shapes(params):
            raise ValueError(
                f"params must have the shapes of init_params, {shapes(wanted)}, "
                f"got {shapes(params)}"
            )
        self.executor.runner.example()

    def start(
        self,
        params: Params,
        keys: Key[Array, " workers"],
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> Trajectories:
        """New episodes. On the host they begin with their first segment, and only then."""
        num_workers = keys.shape[0]
        num_arms = 1 if shift is None else jax.tree.leaves(shift)[0].shape[0]

        def blank(one):
            words = as_words(one)
            return jnp.zeros((num_arms, num_workers, *words.shape[1:]), words.dtype)

        state = jax.tree.map(blank, self.executor.runner.example())
        length = jnp.full(num_workers, self.horizon, int)
        return Trajectories.begin(state, num_arms, keys, length)

    def unroll(
        self,
        params: Params,
        trajectories: Trajectories,
        num_steps: int,
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> tuple[Trajectories, RowLosses]:
        before, clock = trajectories.arms, trajectories.clock
        arms, workers = before.done.shape
        params, others = eqx.partition(params, eqx.is_array)
        if shift is None:
            params = rows.repeat(rows.repeat(params, workers), arms)
        else:
            params = jax.vmap(jax.vmap(ft.partial(rows.add, params)))(shift)
        seeds = jax.vmap(ft.partial(_draw_seeds, num_steps=num_steps))
        start_seeds, step_seeds = rows.repeat(seeds(clock.key, clock.t), arms)
        arm, worker = jnp.indices((arms, workers), jnp.int32)
        # Of arrays of JAX here, which become those of NumPy on the way.
        make: Any = Segment
        segment = make(
            params=params,
            state=before.state,
            done=before.done,
            t=rows.repeat(clock.t.astype(jnp.int32), arms),
            start_seeds=start_seeds,
            step_seeds=step_seeds,
            arm=arm,
            worker=worker,
        )
        pure = self.copies_states
        state, done, losses, taken = rows.unflatten(
            advance_on_host(self.executor, rows.flatten(segment), others, pure=pure), arms
        )
        t = jnp.minimum(clock.t + num_steps, clock.length)
        done = done | rows.repeat(t >= clock.length, arms)
        after = Arms(state, done, before.taken + taken)
        return self.settle((Trajectories(after, replace(clock, t=t)), losses))

    def settle(self, results: PyTree) -> PyTree:
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(results)):
            jax.block_until_ready(results)
            self.executor.throw()
        return results


class HostEngine(AbstractHostEngine):
    """Runs a problem of NumPy, or simulators of any kind, in this process.

    An `AbstractHostProblem` or an `AbstractSimulatorProblem` is wrapped in it wherever an engine is
    wanted; to do it yourself gives you its `failures`, the last few tracebacks.

    **Arguments:** `problem`, what to run.

    **Raises:** `ValueError` if the problem is neither, is not hashable, or has no horizon of at
    least 1.

    **Example**, after that of `AbstractHostProblem`:

    >>> engine = unspool.HostEngine(Tank())
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1)
    >>> init, step = unspool.make_step(engine, estimator, optax.adam(0.02))
    >>> engine.failures
    ()
    """

    executor: AbstractExecutor

    def __init__(self, problem: AbstractBlackBox):
        self.executor = LocalExecutor(make_runner(problem))


def _check_kinds(params: Params) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must be an array that NumPy knows, "
                f"got {leaf.dtype}: simulators have their randomness from seeds"
            )


def _draw_seeds(key, t, num_steps: int):
    """The seed of an episode's start, and those of the coming steps, as pairs of words."""
    steps_key = stream(key, Purpose.STEP)
    seeds = lambda t: jax.random.key_data(numbered(steps_key, t))
    start = jax.random.key_data(stream(key, Purpose.START))
    return start, jax.vmap(seeds)(t + jnp.arange(num_steps, dtype=t.dtype))
