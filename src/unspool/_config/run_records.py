"""The records of a run, which are written down, and the evaluations that are due between them."""

import math
from collections.abc import Iterator, Sequence

import jax.numpy as jnp

from .._checkpoint import load_checkpoint
from .._custom_types import Params
from .._evaluate import evaluate
from .._logger import AbstractLogger
from .._params import map_arrays
from .._run import Run
from .._train import Compiled
from .._updates import Record, TrainingError
from ..records import EvaluationLine
from .build import Training
from .early_stop import why_to_stop
from .train_config import TrainConfig


def run_records(
    training: Training,
    run: Run,
    compiled: Compiled,
    loggers: Sequence[AbstractLogger] = (),
    progress: bool = False,
) -> Iterator[Record]:
    """The records of a run, which are written down, and the evaluations that are due.

    A run that was killed between a checkpoint and its evaluation is evaluated there first.
    """
    with run.logging_to(*loggers):
        yield from _run_records(training, run, compiled, progress)


def _run_records(
    training: Training, run: Run, compiled: Compiled, progress: bool
) -> Iterator[Record]:
    config = training.config
    records = run.train_compiled(
        compiled,
        key=training.key,
        checkpoint_every=config.checkpoint_every,
        seconds=config.seconds,
        progress=progress,
    )
    evaluations = _Evaluations(training, run)
    made = max(run.checkpoints, default=0)
    if evaluations.are_due(made, is_end=bool(end_reached(run, config))):
        params = compiled.params
        if made:
            file = run.directory / "checkpoints" / f"{made}.npz"
            params = load_checkpoint(file, compiled.state_shape).recommended
        evaluations.make(made, _seconds_at(run, made), params)
    if why := _why_stopped(run, config, made):
        run.finish("finished", f"it has {why}")
        return
    record = None
    try:
        for record in records:
            late = config.seconds is not None and record.seconds >= config.seconds
            is_end, why = late or record.update >= config.num_updates, ""
            if evaluations.are_due(record.update, record.seconds, is_end=is_end):
                evaluations.make(record.update, record.seconds, record.params)
                why = "" if is_end else _why_stopped(run, config, record.update)
            if why:
                run.save(record)
                records.close()
                run.finish("finished", f"it has {why}")
            yield record
            if why:
                return
    except TrainingError:
        if record is not None and evaluations.are_due(record.update, is_end=True):
            evaluations.make(record.update, record.seconds, record.params)
        raise


_BY_DEFAULT = 10
"""The evaluations after the start of a run that does not say how many it wants."""


class _Evaluations:
    """The evaluations of a run, of which those up to its checkpoint count.

    They are due where a multiple of `evaluate_every` is reached, by default of a tenth of all
    updates, whatever happened before, and at the end; in a training that ends with time, twenty
    times on its way.
    """

    def __init__(self, training: Training, run: Run):
        config = training.config
        self._training, self._run = training, run
        self._every = config.evaluate_every or -(-config.num_updates // _BY_DEFAULT)
        self._pause = math.inf
        if config.seconds is not None and config.evaluate_every is None:
            self._pause = config.seconds / 20
        # A run that goes on drops the lines after its checkpoint.
        kept = max(run.checkpoints, default=0)
        updates = [line.update for line in run.read_evaluations() if line.update <= kept]
        self._update = updates[-1] if updates else None
        self._seconds = _seconds_at(run, updates[-1]) if updates else 0.0

    def are_due(self, update: int, seconds: float = 0.0, *, is_end: bool = False) -> bool:
        """True if there is no evaluation yet at an update that should have one."""
        if self._training.config.num_episodes == 0:
            return False
        if self._update is None:
            return True
        is_passed = update // self._every > self._update // self._every
        is_passed = is_passed or is_end or seconds - self._seconds >= self._pause
        return update > self._update and is_passed

    def make(self, update: int, seconds: float, params: Params) -> None:
        """Evaluates, and writes a line."""
        training = self._training
        found = evaluate(
            training.joint,
            map_arrays(jnp.asarray, params),
            key=training.key,
            num_episodes=training.config.num_episodes,
        )
        line = EvaluationLine(
            update=update,
            loss=float(found.loss),
            standard_error=float(found.standard_error),
            num_episodes=found.num_episodes,
            dropped=int(found.dropped),
        )
        self._run.append_evaluation(line, params)
        self._update, self._seconds = update, seconds


def end_reached(run: Run, config: TrainConfig) -> str:
    """Which limit a run has reached, and what to ask for to go on; empty if it is none."""
    made = max(run.checkpoints, default=0)
    if made >= config.num_updates:
        return (
            f"made its {made} updates: to go on, ask for more than {made} with --num-updates (in "
            "Python, num_updates)"
        )
    spent = _seconds_at(run, made)
    if config.seconds is not None and spent >= config.seconds:
        return (
            f"been trained for {spent:.3g} of {config.seconds:.6g} seconds: to go on, ask for more "
            "with --seconds (in Python, seconds)"
        )
    return _why_stopped(run, config, made)


def _why_stopped(run: Run, config: TrainConfig, made: int) -> str:
    """The reason why the evaluations up to an update end a run there; empty if they do not."""
    if config.patience is None and config.target_loss is None:
        return ""
    lines = [line for line in run.read_evaluations() if line.update <= made]
    is_evaluated = bool(lines) and lines[-1].update == made
    return why_to_stop(lines, config) if is_evaluated else ""


def _seconds_at(run: Run, update: int) -> float:
    """The seconds of training up to an update of which there is a record."""
    return next((x.seconds for x in reversed(run.read_metrics()) if x.update == update), 0.0)
