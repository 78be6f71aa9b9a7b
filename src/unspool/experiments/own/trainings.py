"""One task of a comparison: some of its runs, one after the other."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from ..._config.build import build_training
from ..._config.loggers import make_loggers
from ..._config.run import (
    compile_run,
    create_run,
    in_precision,
    reopen,
    run_settings,
)
from ..._config.run_records import run_records
from ..._run import Run
from ..._updates import Record, TrainingError
from ...records.run import CONFIG_FILE
from ..tasks import TaskProgress
from .plan import Planned
from .standing import extended


def run_trainings(
    planned: Sequence[Planned], start: Path, allow_changes: bool
) -> Iterator[TaskProgress]:
    """Begins the runs, or goes on with them, as `train_run` and `resume_run` do.

    All in one process, so that what they have in common is compiled once. A training that cannot
    go on because its numbers are no longer finite is an outcome and no failure.
    """
    for each in planned:
        config = each.config
        with jax.enable_x64(config.float64):
            run, records = _open(each, start, allow_changes)
        yield from _run(each, run, in_precision(records, config.float64))


def _run(planned: Planned, run: Run, records: Iterator[Record]) -> Iterator[TaskProgress]:
    config, done = planned.config, 0
    try:
        for record in records:
            now = _spent(planned, record)
            yield TaskProgress(planned.label, config.seed, max(0, now - done), record.loss)
            done = max(done, now)
    except TrainingError as error:
        run.finish("diverged", str(error))
    except Exception as error:
        run.finish("failed", f"{type(error).__name__}: {error}")
        raise
    yield TaskProgress(planned.label, config.seed, planned.cost - done, math.nan)


def _open(planned: Planned, start: Path, allow_changes: bool) -> tuple[Run, Iterator[Record]]:
    """The run, and the records that it still lacks."""
    loggers = make_loggers(planned.config, start)
    if (planned.path / CONFIG_FILE).exists():
        run = Run.open(planned.path)
        config, start = run_settings(run)
        config = extended(config, planned.config)
        run, training, compiled = reopen(run, config, start, allow_changes)
    else:
        training = build_training(planned.config, start)
        compiled = compile_run(training)
        run = create_run(training, compiled.params, planned.path)
    return run, run_records(training, run, compiled, loggers)


def _spent(planned: Planned, record: Record) -> int:
    """The part of the run's cost that lies behind a record."""
    seconds = planned.config.seconds
    if seconds is None:
        return min(planned.cost, record.steps + record.warmup_steps)
    part = max(record.seconds / seconds, record.update / planned.config.num_updates)
    return int(planned.cost * min(1.0, part))
