"""Compiled loops of updates, and a record of each."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._estimator import AbstractEstimator
from ._estimator.sigma import root_mean_square
from ._estimator.survival import LEAST_SURVIVAL
from ._failure_rate import FailureRate, none_has_come_through, survive_too_rarely
from ._joint import JointProblem
from ._limits import counts_run_out
from ._make_step import UNUSABLE, TrainState, make_step
from ._optimizer import AnyOptimizer
from ._params import map_arrays
from ._pieces import run_in_pieces
from ._programs import Program, compile_program
from ._results import RESULTS, name_result
from ._show import as_table, one_line, show_number, show_tree

_BY_SEVERITY = *UNUSABLE, RESULTS.dropped_workers, RESULTS.dropped_derivatives


Job = tuple[JointProblem, AbstractEstimator, AnyOptimizer]
"""What a training is of: problem, estimator, optimizer."""


class Record(NamedTuple):
    """Losses, counts and parameters of the updates since the last record.

    - `update`: updates made so far.
    - `seconds`: time spent in them, compilation and warming up left out.
    - `steps`: problem steps that the estimates ran; `useful_steps` of them in running episodes.
    - `warmup_steps`: problem steps run before the first estimate.
    - `sequential_steps`: steps that had to follow one another, warming up included.
    - `loss`, `grad_norm`: means over the updates since the last record.
    - `update_variance`: the variance of one update's estimate, all parameters' together, as a mean
      since the last record; NaN where workers cannot be told apart, as in reverse mode.
    - `episode_variance`, `signal_to_noise`: the variance of the mean of an episode's estimates,
      and the squared norm of the gradient over it, over some five episodes; NaN before the first.
    - `lag`: how far the parameters went in the last episode, in sigmas, as the root mean square
      over them; NaN without a sigma.
    - `dropped`: workers that failed since the last record.
    - `sigma`: the scale of the noise in the last update, of a tree the root mean square; NaN where
      nothing is perturbed.
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
    update_variance: float
    episode_variance: float
    signal_to_noise: float
    lag: float
    dropped: int
    sigma: float
    result: RESULTS
    params: Any
    state: TrainState

    def __repr__(self) -> str:
        return one_line("Record", self._facts())

    def _facts(self) -> dict[str, str]:
        facts = {
            "update": f"{self.update}",
            "loss": show_number(self.loss),
            "grad_norm": show_number(self.grad_norm),
            "seconds": f"{self.seconds:.3g}",
            "steps": f"{self.steps}",
            "warmup_steps": f"{self.warmup_steps}",
            "dropped": f"{self.dropped}",
            "sigma": show_number(self.sigma),
            "result": name_result(self.result),
            "params": show_tree(self.params),
        }
        if math.isnan(self.sigma):
            del facts["sigma"]
        if facts["result"] == "successful":
            del facts["dropped"], facts["result"]
        return facts

    def _repr_html_(self) -> str:
        return as_table("Record", self._facts())


class Training(NamedTuple):
    """A training that is ready to run.

    - `job`: what it is of.
    - `program`: the one that `compile_updates` has made for it.
    - `state`: where training goes on.
    - `num_updates`, `log_every`: updates to make in all, and between two records.
    """

    job: Job
    program: Program
    state: TrainState
    num_updates: int
    log_every: int


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


def compile_updates(job, state, log_every: int) -> Program:
    """The program of several updates, `log_every` at most; it takes a job, a state and how many.

    It returns the state after them, and what is to be known of each. The windows that spread the
    workers are run by it too, and nothing need be known of them. Trainings that differ in numbers
    alone share the program. Of the `state`, shapes and types are enough.
    """

    def run(job, state, count):
        _, estimator, _ = job
        _, step = make_step(*job)

        def update(index, carry):
            state, history = carry
            sigma = root_mean_square(estimator.current_sigma(state.workers))
            state, estimate = step(state)
            severity = jnp.array([estimate.result == outcome for outcome in _BY_SEVERITY])
            found = estimate.stats | {"loss": estimate.loss, "severity": severity, "sigma": sigma}
            note = lambda known, new: known.at[index].set(new.astype(known.dtype), mode="drop")
            notes = {name: note(history[name], found[name]) for name in history if name in found}
            return state, history | notes

        nothing = {
            "loss": jnp.zeros(log_every),
            "grad_norm": jnp.zeros(log_every),
            "dropped": jnp.zeros(log_every, int),
            "waiting": jnp.zeros(log_every, int),
            "useful_steps": jnp.zeros(log_every, int),
            "variance": jnp.full(log_every, jnp.nan),
            "sigma": jnp.zeros(log_every),
            "severity": jnp.zeros((log_every, len(_BY_SEVERITY)), bool),
        }
        return jax.lax.fori_loop(0, count, update, (state, nothing))

    return compile_program(run, job, state, _as_int(0), donated=1)


def spread_workers(program: Program, job, state: TrainState) -> TrainState:
    """The state before the first update, given one that `begin` has returned."""
    joint, estimator, _ = job
    num_windows = estimator.plan(joint.horizon).num_warmup_windows
    advance = lambda state, count: joint.settle(program(job, state, _as_int(count))[0])
    return run_in_pieces(advance, num_windows, state)


def _as_int(count: int) -> np.ndarray:
    return np.asarray(count, jnp.result_type(int))


def make_records(training: Training, throw: bool = True) -> Iterator[Record]:
    """Makes the updates, and a record of every `log_every`.

    **Raises:** `TrainingError` where it cannot go on, if it may `throw`.
    """
    job, program, state, num_updates, log_every = training
    joint, estimator, _ = job
    plan = estimator.plan(joint.horizon)
    steps, warmup = len(joint.engines) * plan.num_steps, plan.num_warmup_windows
    num_workers = len(joint.engines) * estimator.num_workers
    # Looked up once: a method of a module is a new object every time.
    settle = joint.settle
    seconds, useful, rate = 0.0, 0, FailureRate()
    while (done := int(state.update)) < num_updates:
        count = min(log_every, num_updates - done)
        if counts_run_out(state.workers, count):
            raise TrainingError(
                f"training stopped at update {done}: episodes or updates have no numbers left for "
                f"{count} more, and randomness would come again; go on with another key, or count "
                'in 64 bits: jax.config.update("jax_enable_x64", True)'
            )
        began = time.perf_counter()
        state, history = settle(program(job, state, _as_int(count)))
        history = {name: np.asarray(values)[:count] for name, values in history.items()}
        seconds += time.perf_counter() - began
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
            sequential_steps=(warmup + done + count) * plan.num_sequential_steps,
            loss=_mean_of_known(history["loss"]),
            grad_norm=float(np.mean(history["grad_norm"])),
            update_variance=_mean_of_known(history["variance"]),
            **state.meter.read()._asdict(),
            dropped=dropped,
            sigma=float(history["sigma"][-1]),
            result=RESULTS.successful if worst is None else _BY_SEVERITY[worst],
            params=map_arrays(_as_numpy, state.recommended),
            state=state,
        )
        yield record
        unusable = np.any(history["severity"][:, : len(UNUSABLE)], axis=1)
        attempted = num_workers - history["waiting"]
        rate.add(attempted, np.where(unusable, attempted, history["dropped"]), ~unusable)
        if throw and (why := _find_why_to_stop(joint, rate, record, num_updates)):
            raise TrainingError(
                f"training stopped at update {record.update}: {why}" + _last_failure(joint)
            )


def _find_why_to_stop(joint, rate, record, num_updates) -> str:
    """Why training cannot go on, or nothing if it can."""
    state = record.state
    attempted, failed = rate.counts
    if rate.is_too_high or (record.update == num_updates and rate.left_nothing):
        return f"{failed} of the last {attempted} workers dropped: {RESULTS[record.result]}"
    known = [
        part for part, one in zip(state.workers, joint.engines, strict=True) if not one.ends_early
    ]
    if record.update == num_updates and any(
        none_has_come_through(part.survival, part.num_pairs) for part in known
    ):
        return (
            f"{failed} of the last {attempted} workers dropped, and not a single episode has come "
            f"to its end: {RESULTS[record.result]}"
        )
    if survive_too_rarely([part.survival for part in state.workers]):
        return (
            f"fewer than {LEAST_SURVIVAL:.0%} of the episodes get to their end, which is too few "
            "for their late windows to stand for those of the others; a shorter horizon or fewer "
            f"failures would help. {RESULTS[record.result]}"
        )
    return ""


def _last_failure(joint) -> str:
    return f"\n\nThe last failure of a simulator:\n{joint.failures[-1]}" if joint.failures else ""


def _mean_of_known(values: np.ndarray) -> float:
    """The mean over the updates that have a value."""
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if known.size else math.nan


def _as_numpy(x: Any) -> Any:
    """A copy on the host; a typed key, of which NumPy has no kind, stays one of JAX."""
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jnp.copy(x) if is_key else np.array(x)
