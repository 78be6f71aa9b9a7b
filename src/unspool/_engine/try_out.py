"""A host problem tried out before anything is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .._black_box import AbstractHostProblem, HostState
from .._params import as_arrays, map_arrays
from .._random import seeded_key
from .returned import MisuseError, check_done, check_losses, check_pair, check_states

_NUM_ROWS = 3
_SEED = 0x9E3779B97F4A7C15
_APART = 0.1
"""Steps by which the rows' parameters differ, as a share of their sizes, or of 1."""
_TOLERANCE = 1e-3
"""Share of the largest number by which rounding may make equal rows differ."""


class _Methods:
    """The methods of a problem for some of a few rows that differ in parameters and seeds."""

    def __init__(self, problem: AbstractHostProblem):
        self.problem = problem
        params = as_arrays(problem.init_params(key=seeded_key(0)))
        self.params = map_arrays(_spread, params)
        # As large as those to come, which some generators do not take.
        self.seeds = np.arange(1, _NUM_ROWS + 1, dtype=np.uint64) * np.uint64(_SEED)
        self.like: HostState | None = None

    def init_state(self, rows: slice) -> HostState:
        params, seeds = _copy((self.params, self.seeds), rows)
        state = self.problem.init_state(params, seeds=seeds)
        state = check_states(self.problem, "init_state", state, seeds.size, self.like)
        self.like = state if self.like is None else self.like
        return state

    def step(self, state: HostState, rows: slice) -> tuple[HostState, np.ndarray]:
        params, state, seeds = _copy((self.params, state, self.seeds), rows)
        pair = self.problem.step(params, state, np.zeros(seeds.size, int), seeds=seeds)
        state, losses = check_pair(self.problem, pair, "the next states and the losses")
        state = check_states(self.problem, "step", state, seeds.size, self.like)
        return state, check_losses(self.problem, losses, seeds.size)

    def is_done(self, state: HostState, rows: slice) -> np.ndarray:
        state, seeds = _copy((state, self.seeds), rows)
        is_done = self.problem.episodes.is_done
        assert is_done is not None
        return check_done(self.problem, is_done(state), seeds.size)


def try_out(problem: AbstractHostProblem) -> HostState:
    """The state of one row at the start of an episode, once three have shown that all fits.

    An exception in `step` or `is_done` is left to the run: there it costs a row.

    **Raises:** `MisuseError` for a method that returns the wrong shape or type, that cannot be
    given any number of rows, or of which a row gets something else when there are other rows;
    whatever `init_state` raises.
    """
    # It may compute with JAX, and be tried out while something else is being compiled.
    with jax.ensure_compile_time_eval():
        methods = _Methods(problem)
        state = _try(problem, "init_state", methods.init_state)
        if state is None:
            return _try_alone(methods.init_state)
        ends_early = problem.episodes.ends_early
        if ends_early:
            _try(problem, "is_done", lambda rows: methods.is_done(state, rows))
        stepped = _try(problem, "step", lambda rows: methods.step(state, rows))
        if stepped is not None and ends_early:
            _try(problem, "is_done", lambda rows: methods.is_done(stepped[0], rows))
    return jax.tree.map(lambda x: x[:1], state)


def _try(problem: AbstractHostProblem, method: str, call: Callable[[slice], Any]) -> Any:
    """Return value of `call` for all rows; `None` if it raises an exception which they may cause.

    **Raises:** `MisuseError` as `try_out` does.
    """
    name = type(problem).__name__
    try:
        made = call(slice(None))
    except MisuseError:
        raise
    except Exception as error:
        if _num_alone(call) == _NUM_ROWS:
            raise MisuseError(
                f"{method} of {name} must take any number of rows at once: for each of {_NUM_ROWS} "
                f"alone it works, for all together it raised {error!r}"
            ) from error
        return None
    fewer = slice(1, None)
    try:
        again = call(fewer)
    except MisuseError:
        raise
    except Exception as error:
        raise MisuseError(
            f"{method} of {name} must take any number of rows: for {_NUM_ROWS} it works, for "
            f"{_NUM_ROWS - 1} of them it raised {error!r}"
        ) from error
    # One that draws from elsewhere than its seeds is never the same.
    if not _agree(_copy(made, fewer), again, _TOLERANCE) and _agree(made, call(slice(None)), 0.0):
        raise MisuseError(
            f"rows must have nothing to do with one another: {method} of {name} returned something "
            f"else for the same rows among {_NUM_ROWS - 1} than among {_NUM_ROWS}"
        )
    return made


def _num_alone(call: Callable[[slice], Any]) -> int:
    """Number of rows for which `call` works if it is given each alone."""
    works = 0
    for row in range(_NUM_ROWS):
        try:
            call(slice(row, row + 1))
        except MisuseError:
            raise
        except Exception:
            continue
        works += 1
    return works


def _try_alone(init_state: Callable[[slice], HostState]) -> HostState:
    """The state of the first row for which there is one.

    **Raises:** what `init_state` does, if there is none.
    """
    *rows, last = (slice(row, row + 1) for row in range(_NUM_ROWS))
    for row in rows:
        try:
            return init_state(row)
        except MisuseError:
            raise
        except Exception:
            continue
    return init_state(last)


def _spread(x: Any) -> np.ndarray:
    """Parameters of rows that differ."""
    x = np.asarray(x)
    steps = _APART * np.arange(_NUM_ROWS).reshape(-1, *(1,) * x.ndim)
    return (x + steps * np.maximum(1.0, np.abs(x.astype(float)))).astype(x.dtype)


def _copy(tree: PyTree, rows: slice) -> PyTree:
    """Some rows, which a method may then change in place."""
    return map_arrays(lambda x: x[rows].copy(), tree)


def _agree(first: PyTree, second: PyTree, tolerance: float) -> bool:
    """True for arrays that are equal, up to a share of the largest number of each."""

    def agree(x, y):
        if x.dtype.kind in "biu":
            return np.array_equal(x, y)
        kind = complex if x.dtype.kind == "c" else float
        x, y = x.astype(kind), y.astype(kind)
        size = np.max(np.abs(x), initial=0.0, where=np.isfinite(x))
        return np.allclose(x, y, rtol=0.0, atol=tolerance * size, equal_nan=True)

    return all(map(agree, jax.tree.leaves(first), jax.tree.leaves(second)))
