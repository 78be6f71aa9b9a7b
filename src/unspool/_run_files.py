"""The files of a run: what is in them, and how they are written."""

import json
from pathlib import Path
from typing import Any, TypeVar

from ._best import find_best, forget_best, load_best, save_if_best
from ._checkpoint import save_checkpoint
from ._custom_types import Params
from ._logger import Loggers
from .records import EvaluationLine, MetricsLine, RunError, Status, files
from .records.config import CONFIG_FORMAT
from .records.run import CONFIG_FILE, EVALUATION_FILE, METRICS_FILE, STATUS_FILE, L, read_status
from .records.status import State

_BEST = "best"

R = TypeVar("R", bound="RunFiles")


class RunFiles:
    """The files of a run, which are written whole or line by line."""

    def __init__(self, directory: Path, config: dict[str, Any]):
        self.directory = directory
        self.config = config
        self._loggers = Loggers((), config, directory)

    @classmethod
    def create(cls: type[R], directory: Path | str, config: dict[str, Any]) -> R:
        """A new run in a directory that does not exist yet, or is empty.

        **Raises:** `RunError` if the directory holds anything, or cannot be written.
        """
        directory = Path(directory)
        try:
            (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
            strangers = [p.name for p in directory.iterdir() if p.name != "checkpoints"]
            if strangers:
                held = "a run" if CONFIG_FILE in strangers else strangers[0]
                raise RunError(
                    f"the directory {directory} already holds {held}: resume it, or name another"
                )
            config = {"format": files.FORMAT} | config
            files.write_text(directory / CONFIG_FILE, json.dumps(config, indent=1) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write the run directory {directory}: {error.strerror}"
            ) from error
        return cls(directory, config)

    @classmethod
    def open(cls: type[R], directory: Path | str) -> R:
        """A run that exists.

        **Raises:** `RunError` if there is none, or one of a newer format.
        """
        directory = Path(directory)
        if not (directory / CONFIG_FILE).exists():
            raise RunError(f"there is no run in {directory}: {CONFIG_FILE} is missing")
        return cls(directory, files.read_object(directory / CONFIG_FILE, CONFIG_FORMAT))

    @property
    def checkpoints(self) -> list[int]:
        """The updates at which there is a checkpoint, in order."""
        files = (self.directory / "checkpoints").glob("*.npz")
        return sorted(int(file.stem) for file in files if file.stem.isdigit())

    def append(self, line: MetricsLine | EvaluationLine) -> None:
        """Adds a line to `metrics.jsonl` or `evaluation.jsonl`."""
        is_metrics = isinstance(line, MetricsLine)
        files.append_line(self.directory / (METRICS_FILE if is_metrics else EVALUATION_FILE), line)
        if isinstance(line, EvaluationLine):
            self._loggers.start(max(self.checkpoints, default=None))
            self._loggers.log_evaluation(line)

    def append_evaluation(self, line: EvaluationLine, params: Params) -> None:
        """Adds a line to `evaluation.jsonl`, and keeps the parameters if none were better."""
        lines = [*self.read_evaluations(), line]
        # First the parameters, so that no line is without them.
        save_if_best(self.directory / _BEST, lines, params)
        self.append(line)
        forget_best(self.directory / _BEST, lines, max(self.checkpoints, default=0))

    @property
    def best(self) -> EvaluationLine | None:
        """The evaluation with the lowest loss, the first of several; `None` if there is none."""
        return find_best(self.read_evaluations())

    def load_best(self, like: Params) -> Params:
        """The parameters of the best evaluation.

        **Arguments:**

        - `like`: parameters of the same tree, such as the problem's initial ones. What is not
          trained is taken from them.

        **Raises:** `RunError` if there is no evaluation; `CheckpointError` if its parameters were
        not kept, as those of `Run.train` are not without `append_evaluation`.
        """
        best = self.best
        if best is None:
            raise RunError(f"the run in {self.directory} has no evaluation to be the best one")
        return load_best(self.directory / _BEST, best.update, like)

    def read_metrics(self) -> list[MetricsLine]:
        """The lines of `metrics.jsonl`; a last line cut short is left out.

        **Raises:** `RunError` for a line that is malformed, as do the others.
        """
        return self._read(METRICS_FILE, MetricsLine)

    def read_evaluations(self) -> list[EvaluationLine]:
        """The lines of `evaluation.jsonl`; a last line cut short is left out."""
        return self._read(EVALUATION_FILE, EvaluationLine)

    def read_status(self) -> Status:
        """The status, and why; a run that has not begun is called `running`."""
        return read_status(self.directory)

    def finish(self, state: State, message: str = "") -> None:
        """Notes whether the run is `running`, or how it ended, and why."""
        files.write_record(self.directory / STATUS_FILE, Status(state, message))

    def _read(self, name: str, kind: type[L]) -> list[L]:
        file = self.directory / name
        return files.read_lines(file, kind) if file.exists() else []

    def _save(self, update: int, state: Any) -> None:
        save_checkpoint(self._checkpoint(update), state)

    def _checkpoint(self, update: int) -> Path:
        return self.directory / "checkpoints" / f"{update}.npz"

    def _forget_after(self, update: int) -> None:
        for name, kind in ((METRICS_FILE, MetricsLine), (EVALUATION_FILE, EvaluationLine)):
            if (self.directory / name).exists():
                kept = [line for line in self._read(name, kind) if line.update <= update]
                files.write_lines(self.directory / name, kept)
        for later in (u for u in self.checkpoints if u > update):
            self._checkpoint(later).unlink()
        forget_best(self.directory / _BEST, self.read_evaluations(), update)
