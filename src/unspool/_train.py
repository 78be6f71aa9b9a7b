"""The trainer: many updates in one compiled loop, a record now and then."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import _rows as rows
from ._counts import LARGEST, as_count
from ._custom_types import IntScalar, Params, RandomKey
from ._engine import AnyEngine, as_engine
from ._estimator import AbstractEstimator, Estimate
from ._estimator.base import EstimatorState
from ._estimator.workers import Workers
from ._limits import births_run_out, warn_of_long_start
from ._memory import Memory, read_memory
from ._optimizer import AnyOptimizer, as_optimizer, evaluation_params, start_optimizer, update
from ._programs import Program, compile_program, find_shapes, one_occasion
from ._random import Purpose, stream
from ._results import RESULTS

_BY_SEVERITY = (
    RESULTS.all_workers_dropped,
    RESULTS.nonfinite_gradient,
    RESULTS.dropped_workers,
)
_MOST_DROPPED = 0.5


class TrainState(eqx.Module):
    """All that training needs to go on: parameters, optimizer, workers, updates made."""

    params: Params
    optimizer: optax.OptState
    workers: EstimatorState
    update: IntScalar


class Record(NamedTuple):
    """What happened in the updates since the last record.

    - `update`: updates made so far.
    - `seconds`: time spent in them, compilation and warming up left out.
    - `steps`: problem steps that the estimates ran; `useful_steps` of them in running episodes.
    - `warmup_steps`: problem steps run before the first estimate.
    - `sequential_steps`: steps that had to follow one another, warming up included.
    - `loss`, `grad_norm`: means over the updates since the last record.
    - `dropped`: workers left out since the last record.
    - `result`: the worst outcome since the last record, a member of `RESULTS`.
    - `params`: the parameters, as NumPy arrays: those that the optimizer recommends, where it
      trains others, as schedule-free ones do.
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

    def init(params: Params, *, key: RandomKey) -> TrainState:
        params = rows.strong(jax.tree.map(jnp.array, params))
        optimizer_state = start_optimizer(optimizer, params)
        workers = estimator.init(engine, params, key=key)
        return TrainState(params, optimizer_state, workers, jnp.zeros((), int))

    def step(state: TrainState) -> tuple[TrainState, Estimate]:
        estimate, workers = estimator.estimate(engine, state.params, state.workers)
        usable = (estimate.result != RESULTS.all_workers_dropped) & (
            estimate.result != RESULTS.nonfinite_gradient
        )
        moved = update(optimizer, estimate.grad, state.optimizer, state.params, estimate.loss)
        params, optimizer_state = jax.tree.map(
            lambda new, old: jnp.where(usable, new, old), moved, (state.params, state.optimizer)
        )
        return TrainState(params, optimizer_state, workers, state.update + 1), estimate

    return init, step


def train(
    engine: AnyEngine,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    *,
    num_updates: int,
    key: RandomKey,
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
    - `params`: where to start; by default what the problem's `init_params` gives.
    - `state`: where to go on: a `Record`'s state, or a loaded checkpoint. The bits are those of
      a run that never stopped.
    - `log_every`: updates between records; by default a hundredth of `num_updates`.
    - `throw`: whether to raise `TrainingError`, after the record that shows it, when there is no
      usable estimate or more than half of the workers were dropped.

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
    engine: AnyEngine, estimator: AbstractEstimator, state: TrainState, *, key: RandomKey
) -> TrainState:
    """The state with new episodes, in place of those whose simulators are gone."""
    key = jax.random.fold_in(key, state.update)
    workers = estimator.init(engine, state.params, key=key)
    updates = lambda workers: [part.update for part in _parts(workers)]
    workers = eqx.tree_at(updates, workers, updates(state.workers))
    return TrainState(state.params, state.optimizer, workers, state.update)


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


def _run_updates(job, state, count):
    """`count` updates in one loop, and what is to be known of each."""
    _, step = make_step(*job)

    def update(state, _):
        state, estimate = step(state)
        severity = jnp.array([estimate.result == outcome for outcome in _BY_SEVERITY])
        stats = {name: estimate.stats[name] for name in ("grad_norm", "dropped", "useful_steps")}
        return state, stats | {"loss": estimate.loss, "severity": severity}

    state, history = jax.lax.scan(update, state, length=count)
    return state, history


def _compile_first(job, params, count) -> Program:
    """The program of the first `count` updates, before there is a state."""
    init, _ = make_step(*job)
    key = jax.eval_shape(lambda: jax.random.key(0))
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
    seconds, useful = 0.0, 0
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
        state, history = jax.block_until_ready(programs[count](job, state))
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
            loss=float(np.mean(history["loss"])),
            grad_norm=float(np.mean(history["grad_norm"])),
            dropped=dropped,
            result=RESULTS.successful if worst is None else _BY_SEVERITY[worst],
            params=jax.device_get(
                jax.tree.map(jnp.copy, evaluation_params(state.optimizer, state.params))
            ),
            state=state,
        )
        yield record
        at_work = count * len(engine.parts) * estimator.num_workers
        if throw and (dropped > _MOST_DROPPED * at_work or worst in (0, 1)):
            raise TrainingError(
                f"training stopped at update {record.update}, {dropped} of "
                f"{at_work} workers dropped since update {done}: "
                f"{RESULTS[record.result]}" + _last_failure(engine)
            )
