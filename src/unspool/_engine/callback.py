"""The call from within a compiled program to the rows on the host."""

import dataclasses
import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jax.experimental.buffer_callback import buffer_callback
from jaxlib import xla_client
from jaxtyping import PyTree

from .._custom_types import Params
from .executor import AbstractExecutor
from .segment import Outcome, Segment

_CLOCK_KINDS = bool, np.int32, np.uint64, np.uint64, np.int32, np.int32
"""Types of the fields of a `Segment`, besides parameters and states."""


def advance_on_host(
    executor: AbstractExecutor, segment: Segment, others: Params, *, pure: bool
) -> Outcome:
    """The outcome of a segment, as an operation of JAX.

    **Arguments:**

    - `segment`: the rows, as arrays of JAX. Of numbers of 8 bytes, which JAX may not have, seeds
      and states are in words of 4, and so are the states that come back.
    - `others`: the leaves of the parameters that are no arrays, `None` elsewhere.
    - `pure`: whether the rows are all that the result depends on.
    """
    # Callbacks run on threads of their own, where the precision may be another.
    done, precision = segment.done, jnp.result_type(float)
    kinds = _kinds(segment.params), _kinds(executor.runner.example()), *map(np.dtype, _CLOCK_KINDS)
    words, structure = jax.tree.flatten(jax.tree.map(as_words, segment))
    leaves, of_params = jax.tree.flatten(others)
    constants = of_params, tuple(leaves)
    call = _Call(executor, structure, tuple(jax.tree.leaves(kinds)), precision, constants)
    outcome: Any = Outcome
    losses, taken = jnp.zeros(done.shape), jnp.zeros(done.shape, jnp.int32)
    like = jax.eval_shape(lambda: outcome(segment.state, done, as_words(losses), taken))
    shapes, structure = jax.tree.flatten(like)
    how: dict[str, Any] = {"vmap_method": "broadcast_all"}
    if jax.default_backend() == "cpu":
        # The others make arrays of JAX of all that they pass on: by the one thread that there may
        # be, which the call is waiting on.
        made = buffer_callback(_Fill(call), shapes, has_side_effect=not pure, **how)(*words)
    elif pure:
        made = jax.pure_callback(call, shapes, *words, **how)
    else:
        made = io_callback(call, shapes, *words, ordered=True)
    made = jax.tree.unflatten(structure, made)
    return made._replace(losses=from_words(made.losses, precision))


@dataclasses.dataclass(frozen=True)
class _Call:
    """The rows of a segment, or of several that are mapped over. Equal ones make equal programs.

    `kinds` are the types of the leaves of the `Segment`, `precision` is that of the losses,
    `constants` are the structure and the leaves of what of the parameters is no array.
    """

    executor: AbstractExecutor
    structure: Any
    kinds: tuple[np.dtype, ...]
    precision: np.dtype
    constants: tuple[Any, tuple[Any, ...]]

    def __call__(self, *words: Any) -> list[Any]:
        # `done`, and `worker` as the last of all, are a number for each row.
        lead = np.shape(words[-1])
        flat = [np.asarray(x).reshape(-1, *np.shape(x)[len(lead) :]) for x in words]
        leaves = map(from_words, flat, self.kinds)
        segment = jax.tree.unflatten(self.structure, leaves)
        others = jax.tree.unflatten(*self.constants)
        segment = segment._replace(params=eqx.combine(segment.params, others))
        # The settings of a thread are its own, and here they are not those of the user.
        with jax.enable_x64(self.precision == np.float64), jax.default_device(_host_device()):
            outcome = self.executor.run(segment)
        with np.errstate(over="ignore"):
            outcome = outcome._replace(losses=outcome.losses.astype(self.precision))
        made = map(as_words, jax.tree.leaves(outcome))
        return [x.reshape(*lead, *x.shape[1:]) for x in made]


@dataclasses.dataclass(frozen=True)
class _Fill:
    """A call whose operands and results are memory of the program's."""

    call: _Call

    def __call__(self, context: Any, out: list[Any], *words: Any) -> None:
        # Copies, which a simulator may keep.
        for place, made in zip(
            out, self.call(*(np.asarray(word).copy() for word in words)), strict=True
        ):
            np.asarray(place)[...] = made


@ft.cache
def _host_device() -> Any:
    """A CPU device with threads of its own, for what simulators compute with JAX.

    They are called in the middle of a program, most often on a thread of the pool that the CPU's
    programs share. What they had computed there would be handed to that pool, and where it has no
    other thread (`NPROC=1`, or a machine with one core) be waited for without end.
    """
    return xla_client.make_cpu_client(asynchronous=False, num_devices=1).devices()[0]


def _kinds(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: np.dtype(x.dtype), tree)


def as_words(x):
    """Numbers of 8 bytes or more, of which JAX may make others, as words of 4."""
    if x.dtype.itemsize < 8:
        return x
    if isinstance(x, np.ndarray):
        return np.ascontiguousarray(x).view(np.uint32).reshape(*x.shape, x.dtype.itemsize // 4)
    return jax.lax.bitcast_convert_type(x, jnp.uint32)


def from_words(x, kind: np.dtype):
    """The inverse of `as_words`, for numbers that were of this kind."""
    if kind.itemsize < 8:
        return x
    if isinstance(x, np.ndarray):
        return np.ascontiguousarray(x).view(kind)[..., 0]
    return jax.lax.bitcast_convert_type(x, kind)
