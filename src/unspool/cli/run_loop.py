"""The loop of a run: its progress, the signals that stop it, its end."""

import contextlib
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from .._config.build import Training
from .._config.run_records import run_records
from .._logger import AbstractLogger
from .._params import split
from .._progress import make_notes, show_progress
from .._run import Run
from .._train import Compiled
from .._updates import Record
from .errors import RunFailure, describe_error


def run_loop(
    training: Training, run: Run, compiled: Compiled, loggers: Sequence[AbstractLogger] = ()
) -> int:
    """Trains to the end, or until a signal; returns the exit code."""
    total = training.config.num_updates
    records = run_records(training, run, compiled, loggers)
    note = make_notes()
    record, made = None, max(run.checkpoints, default=0)
    try:
        shown = show_progress(total, made, "updates", sys.stdout)
        with _signals() as caught, shown as show_update:
            for record in records:
                show_update(record.update, note(record))
                if caught() and record.update < total:
                    # The state is gone once another record is asked for.
                    run.save(record)
                    return _finish_stopped(run, record.update, caught())
    except KeyboardInterrupt:
        return _finish_stopped(run, max(run.checkpoints, default=0), signal.SIGINT)
    except Exception as error:
        if os.environ.get("UNSPOOL_TRACEBACK"):
            raise
        message = describe_error(error, "while training")
        with contextlib.suppress(OSError):
            run.finish("failed", message)
        raise RunFailure(f"{message.rstrip('.')}; the run is in {run.directory}") from error
    if record is not None:
        _print_results(run, record)
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], int | None]]:
    """Notes the first signal to stop, so that the current record is finished; obeys the second."""
    caught: list[int] = []

    def note(number, frame):
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        # Below the bar, which would be drawn over it.
        line = "\n" if sys.stdout.isatty() else ""
        print(f"{line}stopping at the next record; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish_stopped(run: Run, update: int, number: int | None) -> int:
    run.finish("stopped", f"stopped by hand after update {update}")
    print(f"stopped after update {update}; to go on:")
    print(f"  unspool train --resume {shlex.quote(str(run.directory))}", flush=True)
    return 128 + (number or signal.SIGINT)


def _limits(record: Record) -> list[str]:
    """What a record says of noise and lag, as far as it is known."""
    said = []
    if not math.isnan(record.signal_to_noise):
        said.append(f"signal to noise {record.signal_to_noise:.2g} in an episode")
    if not math.isnan(record.lag):
        said.append(f"lag {record.lag:.2g} sigmas")
    return said


def _print_results(run: Run, record: Record) -> None:
    """Prints the results, and where they are."""
    print(f"{'loss':<10}{record.loss:.6g} in training, update {record.update}")
    if limits := _limits(record):
        print(f"{'limits':<10}{', '.join(limits)}")
    if lines := run.read_evaluations():
        first, last = lines[0], lines[-1]
        error = f" +- {last.standard_error:.2g}" if last.standard_error else ""
        at_start = f", {first.loss:.6g} at the start" if first.loss is not None else ""
        failed = f", {last.dropped} of which failed" if last.dropped else ""
        if last.loss is not None:
            print(
                f"{'evaluated':<10}{last.loss:.6g}{error} on {last.num_episodes} "
                f"fresh episodes{failed}{at_start}"
            )
        best = run.best
        if best is not None and best.update != last.update:
            print(f"{'best':<10}{best.loss:.6g} at update {best.update}")
    if why := run.read_status().message:
        print(f"{'ended':<10}{why}")
    names, values = run.config["parameter_names"], jax.tree.leaves(split(record.params)[0])
    if names is not None:
        flat = np.concatenate([np.ravel(value) for value in values])
        pairs = (f"{name} {value:.6g}" for name, value in zip(names, flat, strict=True))
        print(f"{'params':<10}{', '.join(pairs)}")
    print(f"{'run':<10}{run.directory}")
    print(f"{'next':<10}unspool report {shlex.quote(str(run.directory))}", flush=True)
