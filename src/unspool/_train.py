"""The trainer: many updates in one compiled loop, a record now and then."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._counts import LARGEST, as_count
from ._custom_types import IntScalar, KeyLike, Params
from ._engine import AnyEngine, as_engine, settle
from ._estimator import AbstractEstimator, Estimate
from ._estimator.base import EstimatorState
from ._estimator.survival import LEAST_SURVIVAL
from ._estimator.workers import Workers
from ._failure_rate import FailureRate, survive_too_rarely
from ._limits import births_run_out, warn_of_long_start
from ._memory import Memory, read_memory
from ._optimizer import (
    AnyOptimizer,
    apply_optimizer,
    as_optimizer,
    evaluation_params,
    start_optimizer,
)
from ._params import Fixed, as_arrays, join, map_arrays, split
from ._programs import Program, compile_program, find_shapes, one_occasion
from ._random import Purpose, as_key, seeded_key, stream
from ._results import RESULTS

_BY_SEVERITY = (
    RESULTS.all_workers_dropped,
    RESULTS.nonfinite_gradient,
    RESULTS.dropped_workers,
    RESULTS.dropped_derivatives,
)
_UNUSABLE = 2
"""How many of them, the worst, mean that there is no estimate."""
_STATS = "grad_norm", "dropped", "waiting", "useful_steps"


class TrainState(eqx.Module):
    """All that training needs to go on: parameters, optimizer, workers, updates made.

    Its leaves are arrays, also where those of the parameters are not: `trained` are the real
    arrays of the parameters, with `None` elsewhere, and `fixed` the rest.
    """

    trained: Params
    optimizer: optax.OptState
    workers: EstimatorState
    update: IntScalar
    fixed: Fixed

    @property
    def params(self) -> Params:
        """The parameters, of the tree in which training was given them."""
        return join(self.trained, self.fixed)

    @property
    def recommended(self) -> Params:
        """Those that the optimizer recommends, where it trains others."""
        return join(evaluation_params(self.optimizer, self.trained), self.fixed)


class Record(NamedTuple):
    """What happened in the updates since the last record.

    - `update`: updates made so far.
    - `seconds`: time spent in them, compilation and warming up left out.
    - `steps`: problem steps that the estimates ran; `useful_steps` of them in running episodes.
    - `warmup_steps`: problem steps run before the first estimate.
    - `sequential_steps`: steps that had to follow one another, warming up included.
    - `loss`, `grad_norm`: means over the updates since the last record.
    - `dropped`: workers that failed since the last record.
    - `result`: the worst outcome since the last record, a member of `RESULTS`.
    - `params`: the parameters, of the tree in which they were given, with NumPy arrays; those that
      the optimizer recommends, where it trains others, as schedule-free ones do.
    - `state`: everything, to go on from. Its buffers are used again by the next updates: save it,
      or copy it, before asking for the next record.
    """

    update: int
    seconds: float
    steps: int
    useful_steps: int
    warmup_steps: int
    sequential_steps: int
    loss: float
    grad_norm: float
    dropped: int
    result: RESULTS
    params: Any
    state: TrainState


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


def make_step(
    engine: AnyEngine,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
) -> tuple[Callable[..., TrainState], Callable[[TrainState], tuple[TrainState, Estimate]]]:
    """A pair of pure functions: `init(params, *, key)` and `step(state)`.

    `step` returns the next state and the estimate it was made with. An estimate without a single
    healthy worker, or with a gradient that is not finite, leaves parameters and optimizer as they
    were; its `result` says so.
    """
    engine = as_engine(engine)
    optimizer = as_optimizer(optimizer)

    def init(params: Params, *, key: KeyLike) -> TrainState:
        params = as_arrays(map_arrays(jnp.array, params))
        trained, fixed = split(params)
        optimizer_state = start_optimizer(optimizer, trained)
        workers = estimator.init(engine, params, key=key)
        return TrainState(trained, optimizer_state, workers, jnp.zeros((), int), fixed)

    def step(state: TrainState) -> tuple[TrainState, Estimate]:
        estimate, workers = estimator.estimate(engine, state.params, state.workers)
        usable = (estimate.result != RESULTS.all_workers_dropped) & (
            estimate.result != RESULTS.nonfinite_gradient
        )
        moved = apply_optimizer(
            optimizer, estimate.grad, state.optimizer, state.trained, estimate.loss
        )
        trained, optimizer_state = jax.tree.map(
            lambda new, old: jnp.where(usable, new, old), moved, (state.trained, state.optimizer)
        )
        update = state.update + 1
        return TrainState(trained, optimizer_state, workers, update, state.fixed), estimate

    return init, step


def train(
    engine: AnyEngine,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    *,
    num_updates: int,
    key: KeyLike,
    params: Params | None = None,
    state: TrainState | None = None,
    log_every: int | None = None,
    throw: bool = True,
) -> Iterator[Record]:
    """Trains, and yields a `Record` every `log_every` updates.

    The updates between two records are one compiled loop that the host does not interrupt.

    **Arguments:**

    - `engine`: an engine, or a problem for the local one.
    - `estimator`, `optimizer`: how gradients are estimated, and any optax optimizer.
    - `num_updates`: updates to make in all, below 2**31; those that `state` has behind it count.
    - `key`: the one source of randomness. Not used when going on from `state`.
    - `params`: where to start; by default what the problem's `init_params` gives. Real floating
      point arrays are trained; whatever else the tree holds goes along as it is.
    - `state`: where to go on: a `Record`'s state, or a loaded checkpoint. The bits are those of
      a run that never stopped.
    - `log_every`: updates between records; by default a hundredth of `num_updates`.
    - `throw`: whether to raise `TrainingError`, after the record that shows it, when over the last
      ten records clearly more than half of the workers failed, when clearly fewer than 5 % of the
      episodes get to their end, or when not a single update could be made.

    **Raises:** `ValueError` for counts that are no integers of at least 1, parameters that are not
    finite floats, or an optimizer that needs more than gradients and losses; `MemoryError` before
    anything is run, if it would not fit; `TrainingError` before episodes have no numbers left.
    """
    num_updates = as_count("num_updates", num_updates, most=LARGEST)
    if log_every is None:
        log_every = max(1, num_updates // 100)
    log_every = as_count("log_every", log_every)
    engine = as_engine(engine)
    job = (engine, estimator, optimizer)
    programs: dict[int, Program] = {}
    if state is None:
        key = as_key(key)
        if params is None:
            params = engine.init_params(key=stream(key, Purpose.PARAMS))
        engine.check(params)
        count = min(log_every, num_updates)
        with one_occasion():
            programs[count] = _compile_first(job, params, count)
            read_memory(programs[count].compiled).check()
            warn_of_long_start(engine, estimator, num_updates)
            state = make_step(*job)[0](params, key=key)
    return _records(job, programs, state, num_updates, log_every, throw)


def begin_anew(
    engine: AnyEngine, estimator: AbstractEstimator, state: TrainState, *, key: KeyLike
) -> TrainState:
    """The state with new episodes, in place of those whose simulators are gone."""
    key = jax.random.fold_in(as_key(key), state.update)
    workers = estimator.init(engine, state.params, key=key)
    updates = lambda workers: [part.update for part in _parts(workers)]
    workers = eqx.tree_at(updates, workers, updates(state.workers))
    return eqx.tree_at(lambda state: state.workers, state, workers)


def predict_memory(
    engine: AnyEngine,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    params: Params,
    *,
    log_every: int = 1,
) -> Memory:
    """The bytes that `train` will need, before anything is run.

    The numbers are the compiler's: the program is compiled, and kept for `train` with the same
    arguments.

    **Arguments:** as for `train`; `params` may be arrays or `jax.ShapeDtypeStruct`s.

    **Raises:** `ValueError` as `train` does.
    """
    job = (as_engine(engine), estimator, optimizer)
    log_every = as_count("log_every", log_every)
    return read_memory(_compile_first(job, params, log_every).compiled)


def _last_failure(engine) -> str:
    return f"\n\nThe last failure of a simulator:\n{engine.failures[-1]}" if engine.failures else ""


def _parts(workers: EstimatorState) -> list[Workers]:
    return jax.tree.leaves(workers, is_leaf=lambda x: isinstance(x, Workers))


def _as_numpy(x: Any) -> Any:
    """A copy on the host; a typed key, of which NumPy has no kind, stays one of JAX."""
    return jax.device_get(jnp.copy(x))


def _run_updates(job, state, count):
    """`count` updates in one loop, and what is to be known of each."""
    _, step = make_step(*job)

    def update(state, _):
        state, estimate = step(state)
        severity = jnp.array([estimate.result == outcome for outcome in _BY_SEVERITY])
        stats = {name: estimate.stats[name] for name in _STATS}
        return state, stats | {"loss": estimate.loss, "severity": severity}

    state, history = jax.lax.scan(update, state, length=count)
    return state, history


def _compile_first(job, params, count) -> Program:
    """The program of the first `count` updates, before there is a state."""
    init, _ = make_step(*job)
    key = jax.eval_shape(lambda: seeded_key(0))
    state = find_shapes(lambda params, key: init(params, key=key), params, key)
    return _compile_updates(job, state, count)


def _compile_updates(job, state, count) -> Program:
    """`_run_updates` ready to run; trainings that differ in numbers alone share the program."""
    run = lambda job, state: _run_updates(job, state, count)
    return compile_program(run, job, state, donated=1)


def _records(job, programs, state, num_updates, log_every, throw) -> Iterator[Record]:
    engine, estimator, _ = job
    steps = len(engine.parts) * estimator.num_steps(engine.horizon)
    sequential = estimator.num_sequential_steps(engine.horizon)
    warmup = estimator.num_warmup_windows(engine.horizon)
    num_workers = len(engine.parts) * estimator.num_workers
    seconds, useful, rate = 0.0, 0, FailureRate()
    while (done := int(state.update)) < num_updates:
        count = min(log_every, num_updates - done)
        births = [part.birth for part in _parts(state.workers)]
        if births_run_out(births, count):
            raise TrainingError(
                f"training stopped at update {done}: episodes have no numbers left for {count} "
                "more updates, and randomness would come again; go on with another key, or count "
                'in 64 bits: jax.config.update("jax_enable_x64", True)'
            )
        if count not in programs:
            programs[count] = _compile_updates(job, state, count)
        began = time.perf_counter()
        state, history = jax.block_until_ready(settle(engine, programs[count](job, state)))
        seconds += time.perf_counter() - began
        history = jax.device_get(history)
        useful += int(np.sum(history["useful_steps"], dtype=np.int64))
        dropped = int(np.sum(history["dropped"], dtype=np.int64))
        happened = np.any(history["severity"], axis=0)
        worst = int(np.argmax(happened)) if np.any(happened) else None
        record = Record(
            update=done + count,
            seconds=seconds,
            steps=(done + count) * steps,
            useful_steps=useful,
            warmup_steps=warmup * steps,
            sequential_steps=(warmup + done + count) * sequential,
            loss=_mean_of_known(history["loss"]),
            grad_norm=float(np.mean(history["grad_norm"])),
            dropped=dropped,
            result=RESULTS.successful if worst is None else _BY_SEVERITY[worst],
            params=map_arrays(_as_numpy, state.recommended),
            state=state,
        )
        yield record
        unusable = np.any(history["severity"][:, :_UNUSABLE], axis=1)
        attempted = num_workers - history["waiting"]
        rate.add(attempted, np.where(unusable, attempted, history["dropped"]), ~unusable)
        if throw and (why := _find_why_to_stop(rate, state, record, num_updates)):
            raise TrainingError(
                f"training stopped at update {record.update}: {why}" + _last_failure(engine)
            )


def _find_why_to_stop(rate, state, record, num_updates) -> str:
    """Why training cannot go on, or nothing if it can."""
    attempted, failed = rate.counts
    if rate.is_too_high or (record.update == num_updates and rate.left_nothing):
        return f"{failed} of the last {attempted} workers dropped: {RESULTS[record.result]}"
    if survive_too_rarely([part.survival for part in _parts(state.workers)]):
        return (
            f"fewer than {LEAST_SURVIVAL:.0%} of the episodes get to their end, which is too few "
            "for their late windows to stand for those of the others; a shorter horizon or fewer "
            f"failures would help. {RESULTS[record.result]}"
        )
    return ""


def _mean_of_known(losses: np.ndarray) -> float:
    """The mean loss over the updates that have one."""
    known = losses[~np.isnan(losses)]
    return float(np.mean(known)) if known.size else math.nan
