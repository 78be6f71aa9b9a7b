"""A run is a directory: training writes it, reports read it."""

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from ._checkpoint import load_checkpoint
from ._counts import as_count
from ._custom_types import KeyLike, Params, RandomKey
from ._estimator import AbstractEstimator
from ._joint import AnyProblem
from ._lines import first_line, line_of
from ._lock import LockedError, hold_lock
from ._logger import AbstractLogger, Loggers
from ._make_step import TrainState, begin_anew
from ._optimizer import AnyOptimizer
from ._progress import with_progress
from ._random import as_key
from ._run_files import RunFiles
from ._show import as_table, one_line, show_number
from ._train import Compiled, compile_training
from ._updates import Record, make_records
from .records import RunError, files
from .records.run import METRICS_FILE

_MOST_SECONDS_UNSAVED = 600


class _End(NamedTuple):
    """The end of a training: whichever limit is reached first."""

    num_updates: int
    seconds: float | None

    def is_reached(self, record: Record) -> bool:
        late = self.seconds is not None and record.seconds >= self.seconds
        return late or record.update >= self.num_updates


class Run(RunFiles):
    """A training in a directory, which goes on where it was stopped.

    - `config.json`: what is trained, with which settings; written once.
    - `metrics.jsonl`: a line per record.
    - `evaluation.jsonl`: a line per evaluation of unperturbed parameters.
    - `checkpoints/<update>.npz`: everything needed to go on.
    - `best/<update>.npz`: the parameters of the best evaluation.
    - `status.json`: whether it finished.
    - `lock`: held while it is trained.

    **Example:**

    >>> run = unspool.Run.create("runs/first", {"label": "BPTT"})
    >>> job = unspool.problems.InfluenceBalancing(), unspool.BPTT(), optax.sgd(0.01)
    >>> [record.update for record in run.train(*job, num_updates=2, key=jax.random.key(0))]
    [1, 2]
    >>> unspool.Run.open("runs/first").checkpoints[-1]
    2
    """

    @contextlib.contextmanager
    def logging_to(self, *loggers: AbstractLogger) -> Iterator[None]:
        """Sends records and evaluations that are written in the block to loggers as well."""
        self._loggers = Loggers(loggers, self.config, self.directory)
        try:
            yield
        finally:
            self._loggers.finish(self.read_status())
            self._loggers = Loggers((), self.config, self.directory)

    def __repr__(self) -> str:
        return one_line("Run", self._facts())

    def _repr_html_(self) -> str:
        return as_table("Run", self._facts() | {"directory": str(self.directory)})

    def _facts(self) -> dict[str, str]:
        facts = {"directory": repr(str(self.directory))}
        # A run is shown in the middle of a search for what is wrong with its files, too.
        with contextlib.suppress(OSError, RunError):
            status = self.read_status()
            facts["state"] = f"{status.state}{status.message and ': '}{status.message}"
            if lines := self.read_metrics():
                total = self.config.get("num_updates")
                facts["update"] = f"{lines[-1].update}" + (f" of {total}" if total else "")
            known = {"loss": lines, "evaluated": self.read_evaluations()}
            for name, found in known.items():
                if found and found[-1].loss is not None:
                    facts[name] = show_number(found[-1].loss)
        return facts

    def train(
        self,
        problem: AnyProblem,
        estimator: AbstractEstimator,
        optimizer: AnyOptimizer,
        *,
        num_updates: int,
        key: KeyLike,
        params: Params | None = None,
        log_every: int | None = None,
        checkpoint_every: int | None = None,
        resume_from: int | None = None,
        seconds: float | None = None,
        progress: bool = False,
    ) -> Generator[Record, None, None]:
        """As `train`, with every record written down and a checkpoint now and then.

        **Arguments:** as for `train`, and

        - `checkpoint_every`: updates between checkpoints, at the next record; by default a fifth
          of `num_updates`. There is always one at the start and one at the end, and one that is
          not older than ten minutes and a record, which the next one replaces.
        - `resume_from`: the update of the checkpoint to go on from; by default the newest, or the
          start if there is none. Lines written after it are dropped: they will come again.
        - `seconds`: seconds of training, compilation left out, after which it ends at the next
          record; by default only updates end it.

        Simulators that keep their state to themselves are gone when a run goes on: their episodes
        begin anew, and the bits are others.

        **Raises:** `RunError` or `CheckpointError` if there is nothing to go on from, it is of
        another experiment, or the run is being trained already.
        """
        settings = {"num_updates": num_updates, "key": key, "params": params}
        compiled = compile_training(problem, estimator, optimizer, log_every=log_every, **settings)
        yield from self.train_compiled(
            compiled,
            key=key,
            checkpoint_every=checkpoint_every,
            resume_from=resume_from,
            seconds=seconds,
            progress=progress,
        )

    def train_compiled(
        self,
        compiled: Compiled,
        *,
        key: KeyLike,
        checkpoint_every: Any = None,
        resume_from: Any = None,
        seconds: float | None = None,
        progress: bool = False,
    ) -> Generator[Record, None, None]:
        """As `train`, of what has been compiled already. Counts may be anything."""
        key, num_updates = as_key(key), compiled.num_updates
        if checkpoint_every is None:
            checkpoint_every = max(1, num_updates // 5)
        checkpoint_every = as_count("checkpoint_every", checkpoint_every)
        if resume_from is not None:
            resume_from = as_count("resume_from", resume_from, least=0)
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds must be a number above 0, got {seconds!r}")
        try:
            with hold_lock(self.directory / "lock"):
                state = self._load(compiled, key, resume_from)
                if state is None:
                    training = compiled.begin(key)
                    joint, estimator, _ = compiled.job
                    first = first_line(compiled.params, estimator, joint)
                    files.write_record(self.directory / METRICS_FILE, first)
                    self._save(0, training.state)
                else:
                    training = compiled.go_on(state)
                start, end = int(training.state.update), _End(num_updates, seconds)
                self._loggers.start(None if state is None else start)
                records = self._write(make_records(training), start, end, checkpoint_every)
                yield from with_progress(records, num_updates, start) if progress else records
        except LockedError:
            raise RunError(
                f"the run in {self.directory} is being trained at this moment: wait for its end, "
                "or name another directory"
            ) from None

    def _load(
        self, compiled: Compiled, key: RandomKey, resume_from: int | None
    ) -> TrainState | None:
        """The state to go on from, once the files say no more than it does, if there is one."""
        joint, estimator, _ = compiled.job
        known = self.checkpoints
        if resume_from is None and known:
            resume_from = known[-1]
        if resume_from is None:
            return None
        if resume_from not in known:
            raise RunError(f"no checkpoint {resume_from} in {self.directory}; there are {known}")
        file = self._checkpoint(resume_from)
        state = load_checkpoint(file, compiled.state_shape)
        self._forget_after(resume_from)
        return state if joint.copies_states else begin_anew(joint, estimator, state, key=key)

    def _write(
        self, records: Iterator[Record], start: int, end: "_End", checkpoint_every: int
    ) -> Iterator[Record]:
        """Writes down every record, and a checkpoint now and then."""
        earlier = self.read_metrics()[-1]
        self.finish("running")
        kept, passing, saved_at = start, None, time.monotonic()
        try:
            for record in records:
                record = record._replace(
                    seconds=record.seconds + earlier.seconds,
                    useful_steps=record.useful_steps + earlier.useful_steps,
                )
                self.append(line_of(record))
                self._loggers.log_record(record)
                is_last = end.is_reached(record)
                due = record.update - kept >= checkpoint_every or is_last
                if due or time.monotonic() - saved_at >= _MOST_SECONDS_UNSAVED:
                    self._save(record.update, record.state)
                    if passing is not None:
                        self._checkpoint(passing).unlink()
                    kept, passing = (record.update, None) if due else (kept, record.update)
                    saved_at = time.monotonic()
                yield record
                if is_last and record.update < end.num_updates:
                    break
        except Exception as error:
            self.finish("failed", str(error))
            raise
        self.finish("finished")

    def save(self, record: Record) -> None:
        """Writes a checkpoint of a record, before the next one is asked for."""
        self._save(record.update, record.state)
