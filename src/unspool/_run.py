"""A run is a directory: training writes it, reports read it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._checkpoint import load_checkpoint, save_checkpoint
from ._counts import LARGEST, as_count
from ._custom_types import KeyLike, Params, RandomKey
from ._estimator import AbstractEstimator
from ._joint import AnyProblem, as_joint
from ._lines import first_line, line_of, without_nan
from ._lock import LockedError, hold_lock
from ._make_step import TrainState, begin_anew, find_state_shape
from ._optimizer import AnyOptimizer
from ._random import Purpose, as_key, stream
from ._records import Record, make_records
from ._train import prepare

_FORMAT = 1
_FORMATS_READ = 1, 2  # 2 holds settings that the run is built again from.
_MOST_SECONDS_UNSAVED = 600


class RunError(ValueError):
    """A run directory cannot be used as asked; what it holds is left as it was."""


class Run:
    """A training in a directory, which goes on where it was stopped.

    - `config.json`: what is trained, with which settings; written once.
    - `metrics.jsonl`: a line per record.
    - `evaluation.jsonl`: a line per evaluation of unperturbed parameters.
    - `checkpoints/<update>.npz`: everything needed to go on.
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

    def __init__(self, directory: Path, config: dict[str, Any]):
        self.directory = directory
        self.config = config

    @classmethod
    def create(cls, directory: Path | str, config: dict[str, Any]) -> "Run":
        """A new run in a directory that does not exist yet, or is empty.

        **Raises:** `RunError` if the directory holds anything, or cannot be written.
        """
        directory = Path(directory)
        try:
            (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
            strangers = [p.name for p in directory.iterdir() if p.name != "checkpoints"]
            if strangers:
                held = "a run" if "config.json" in strangers else strangers[0]
                raise RunError(
                    f"the directory {directory} already holds {held}: resume it, or name another"
                )
            config = {"format": _FORMAT} | config
            _write(directory / "config.json", json.dumps(config, indent=1) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write the run directory {directory}: {error.strerror}"
            ) from error
        return cls(directory, config)

    @classmethod
    def open(cls, directory: Path | str) -> "Run":
        """A run that exists.

        **Raises:** `RunError` if there is none, or one of another format.
        """
        directory = Path(directory)
        try:
            config = json.loads((directory / "config.json").read_text())
        except FileNotFoundError:
            raise RunError(f"there is no run in {directory}: config.json is missing") from None
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"cannot read {directory / 'config.json'}: {error}") from error
        if config.get("format") not in _FORMATS_READ:
            raise RunError(
                f"the run in {directory} has format {config.get('format')!r}; "
                f"this version reads formats 1 and 2"
            )
        return cls(directory, config)

    @property
    def checkpoints(self) -> list[int]:
        """The updates at which there is a checkpoint, in order."""
        files = (self.directory / "checkpoints").glob("*.npz")
        return sorted(int(file.stem) for file in files if file.stem.isdigit())

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
    ) -> Iterator[Record]:
        """As `train`, with every record written down and a checkpoint now and then.

        **Arguments:** as for `train`, and

        - `checkpoint_every`: updates between checkpoints, at the next record; by default a fifth
          of `num_updates`. There is always one at the start and one at the end, and one that is
          not older than ten minutes and a record, which the next one replaces.
        - `resume_from`: the update of the checkpoint to go on from; by default the newest, or the
          start if there is none. Lines written after it are dropped: they will come again.

        Simulators that keep their state to themselves are gone when a run goes on: their episodes
        begin anew, and the bits are others.

        **Raises:** `RunError` or `CheckpointError` if there is nothing to go on from, it is of
        another experiment, or the run is being trained already.
        """
        joint, key = as_joint(problem), as_key(key)
        num_updates = as_count("num_updates", num_updates, most=LARGEST)
        if checkpoint_every is None:
            checkpoint_every = max(1, num_updates // 5)
        checkpoint_every = as_count("checkpoint_every", checkpoint_every)
        if log_every is not None:
            log_every = as_count("log_every", log_every)
        if resume_from is not None:
            resume_from = as_count("resume_from", resume_from, least=0)
        if params is None:
            params = joint.init_params(key=stream(key, Purpose.PARAMS))
        joint.check(params)
        job = joint, estimator, optimizer
        try:
            with hold_lock(self.directory / "lock"):
                state = self._load(job, params, key, resume_from)
                settings = {"num_updates": num_updates, "key": key, "log_every": log_every}
                training = prepare(*job, params=params, state=state, **settings)
                if state is None:
                    start = first_line(params, estimator, joint)
                    _write(self.directory / "metrics.jsonl", json.dumps(start) + "\n")
                    self._save(0, training.state)
                schedule = int(training.state.update), num_updates, checkpoint_every
                yield from self._write(make_records(training), *schedule)
        except LockedError:
            raise RunError(
                f"the run in {self.directory} is being trained at this moment: wait for its end, "
                "or name another directory"
            ) from None

    def _load(
        self, job: Any, params: Params, key: RandomKey, resume_from: int | None
    ) -> TrainState | None:
        """The state to go on from, once the files say no more than it does, if there is one."""
        joint, estimator, _ = job
        known = self.checkpoints
        if resume_from is None and known:
            resume_from = known[-1]
        if resume_from is None:
            return None
        if resume_from not in known:
            raise RunError(f"no checkpoint {resume_from} in {self.directory}; there are {known}")
        file = self._checkpoint(resume_from)
        state = load_checkpoint(file, find_state_shape(*job, params=params))
        self._forget_after(resume_from)
        return state if joint.copies_states else begin_anew(joint, estimator, state, key=key)

    def _write(
        self, records: Iterator[Record], start: int, end: int, checkpoint_every: int
    ) -> Iterator[Record]:
        """Writes down every record, and a checkpoint now and then."""
        earlier = self.read("metrics")[-1]
        self.finish("running")
        kept, passing, saved_at = start, None, time.monotonic()
        try:
            for record in records:
                record = record._replace(
                    seconds=record.seconds + earlier["seconds"],
                    useful_steps=record.useful_steps + earlier["useful_steps"],
                )
                self.append("metrics", line_of(record))
                due = record.update - kept >= checkpoint_every or record.update == end
                if due or time.monotonic() - saved_at >= _MOST_SECONDS_UNSAVED:
                    self._save(record.update, record.state)
                    if passing is not None:
                        self._checkpoint(passing).unlink()
                    kept, passing = (record.update, None) if due else (kept, record.update)
                    saved_at = time.monotonic()
                yield record
        except Exception as error:
            self.finish("failed", str(error))
            raise
        self.finish("finished")

    def append(self, name: str, line: dict[str, Any]) -> None:
        """Adds a line to `metrics` or `evaluation`; NaN is written as null."""
        with open(self.directory / f"{name}.jsonl", "a") as file:
            file.write(json.dumps(without_nan(line)) + "\n")

    def read(self, name: str) -> list[dict[str, Any]]:
        """The lines of `metrics` or `evaluation`; a last line cut short is left out."""
        file = self.directory / f"{name}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        whole = []
        for line in lines:
            try:
                whole.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return whole

    def finish(self, status: str, message: str = "") -> None:
        """Notes whether the run is `running`, `finished`, `stopped` or `failed`, and why."""
        line = json.dumps({"status": status, "message": message})
        _write(self.directory / "status.json", line + "\n")

    def _save(self, update: int, state: Any) -> None:
        save_checkpoint(self._checkpoint(update), state)

    def _checkpoint(self, update: int) -> Path:
        return self.directory / "checkpoints" / f"{update}.npz"

    def _forget_after(self, update: int) -> None:
        for name in ("metrics", "evaluation"):
            kept = [line for line in self.read(name) if line["update"] <= update]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            if kept or (self.directory / f"{name}.jsonl").exists():
                _write(self.directory / f"{name}.jsonl", text)
        for later in (u for u in self.checkpoints if u > update):
            self._checkpoint(later).unlink()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
