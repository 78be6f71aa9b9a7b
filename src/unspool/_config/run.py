"""A training in a run directory, begun and gone on with from its settings."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import msgspec

from .._custom_types import Params
from .._logger import AbstractLogger
from .._run import Run
from .._train import Compiled, compile_training
from .._updates import Record
from ..records.config import CONFIG_FORMAT
from ..records.files import write_text
from .build import Training, build_training
from .describe_run import describe_run, fingerprints
from .errors import ConfigError, noting
from .loggers import make_loggers
from .parts import with_parts_of
from .run_records import end_reached, run_records
from .train_config import TrainConfig, from_data, to_data, with_limits


def train_run(
    config: TrainConfig,
    directory: str | Path,
    *,
    loggers: Sequence[AbstractLogger] = (),
    progress: bool = False,
) -> Iterator[Record]:
    """Trains as settings say, and writes the run into a new directory.

    Files of yours that the settings name are imported, which runs what is in them.

    **Arguments:**

    - `config`: the settings, with files relative to the current directory.
    - `directory`: where the run is written; it must not exist, or be empty.
    - `loggers`: further loggers, as objects, besides those of the settings.
    - `progress`: show a bar, as `train` does.

    **Returns:** an iterator of records, as `train` does; nothing is done before the first is asked
    for.

    **Raises:** `ConfigError` and `RunError` for what cannot be begun, and as `train`.

    **Example:**

    >>> config = unspool.TrainConfig(
    ...     problem=unspool.Spec("cubic"),
    ...     estimator=unspool.Spec("nres", {"num_workers": 2}),
    ...     num_updates=2,
    ... )
    >>> [record.update for record in unspool.train_run(config, "runs/cubic")]
    [1, 2]
    >>> [record.update for record in unspool.resume_run("runs/cubic", num_updates=4)]
    [3, 4]
    """
    with jax.enable_x64(config.float64):
        training = build_training(config)
        own = make_loggers(config, training.start)
        compiled = compile_run(training)
        run = create_run(training, compiled.params, Path(directory))
        records = run_records(training, run, compiled, [*own, *loggers], progress)
    yield from in_precision(records, config.float64)


def resume_run(
    directory: str | Path,
    *,
    num_updates: int | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    target_loss: float | None = None,
    allow_changes: bool = False,
    loggers: Sequence[AbstractLogger] = (),
    progress: bool = False,
) -> Iterator[Record]:
    """Goes on with a run that settings have begun, to the bits of one that never stopped.

    **Arguments:**

    - `directory`: of a run by `train_run` or `unspool train`.
    - `num_updates`, `seconds`, `patience`, `target_loss`: as of `TrainConfig`, updates and seconds
      in all; by default those of the run.
    - `allow_changes`: go on although a file of yours is not what it was.
    - `loggers`: as of `train_run`.
    - `progress`: show a bar, as `train` does.

    **Returns:** an iterator of records, as `train_run` does.

    **Raises:** `ConfigError` and `RunError` for what cannot be gone on with, and as `train`.

    **Example**, after that of `train_run`:

    >>> [record.update for record in unspool.resume_run("runs/cubic", num_updates=5)]
    [5]
    """
    run = Run.open(directory)
    config, start = run_settings(run)
    limits = {"num_updates": num_updates, "seconds": seconds}
    limits |= {"patience": patience, "target_loss": target_loss}
    config = with_limits(config, limits)
    with jax.enable_x64(config.float64):
        run, training, compiled = reopen(run, config, start, allow_changes)
        own = make_loggers(config, start)
        records = run_records(training, run, compiled, [*own, *loggers], progress)
    yield from in_precision(records, config.float64)


def run_settings(run: Run) -> tuple[TrainConfig, Path]:
    """The settings of a run, and the directory that they name files relative to."""
    settings = run.config.get("settings")
    if settings is None and "command" in run.config:
        raise ConfigError(
            f"the run in {run.directory} is of version 0.1: `unspool train --resume "
            f"{run.directory}` goes on with it, and writes it anew"
        )
    if settings is None:
        raise ConfigError(
            f"the run in {run.directory} was not begun by `unspool train` or train_run, and holds "
            "no settings to build its objects from"
        )
    config = from_data(settings, str(run.directory / "config.json"))
    # Those of an earlier version may leave out what has another default now.
    described = run.config["estimator"]["options"]
    estimator = with_parts_of(config.estimator, described)
    config = msgspec.structs.replace(config, estimator=estimator)
    return config, (run.directory / run.config["from"]).resolve()


def compile_run(training: Training) -> Compiled:
    """The training, compiled, so that what is wrong with it shows before a run begins."""
    config = training.config
    with noting("in the problem"):
        compiled = compile_training(
            training.joint,
            training.chunked,
            training.optimizer,
            num_updates=config.num_updates,
            key=training.key,
            log_every=config.log_every,
        )
        compiled.memory.check()
    return compiled


def create_run(training: Training, params: Params, directory: Path) -> Run:
    """A new run, whose `config.json` holds the settings."""
    build_again = {
        "settings": to_data(training.config),
        "from": os.path.relpath(training.start, directory),
        "fingerprints": fingerprints(training),
    }
    return Run.create(
        directory, {"format": CONFIG_FORMAT} | describe_run(training, params) | build_again
    )


def reopen(
    run: Run, config: TrainConfig, start: Path, allow_changes: bool
) -> tuple[Run, Training, Compiled]:
    """The run, what it trains, and that compiled, once all but its limits is still the same.

    **Raises:** `ConfigError` if it is not, or if there is nothing left to do.
    """
    training = build_training(config, start)
    compiled = compile_run(training)
    described = describe_run(training, compiled.params)
    _check_same(run, described)
    now = fingerprints(training)
    if not allow_changes:
        check_files(run, now)
    if run.read_status().state == "finished" and (why := end_reached(run, training.config)):
        raise ConfigError(f"the run in {run.directory} has {why}")
    again = {
        "format": CONFIG_FORMAT,
        "num_updates": config.num_updates,
        "settings": to_data(training.config),
    }
    again["fingerprints"] = now
    if any(run.config.get(name) != value for name, value in again.items()):
        kept = {name: value for name, value in run.config.items() if name != "command"}
        run = Run(run.directory, kept | again)
        write_text(run.directory / "config.json", json.dumps(run.config, indent=1) + "\n")
    return run, training, compiled


def _check_same(run: Run, described: dict[str, Any]) -> None:
    """Raises `ConfigError` unless the settings still give what the run began with."""
    described = json.loads(json.dumps(described))
    for part in ("problem", "estimator", "num_params"):
        if (now := described[part]) != (then := run.config[part]):
            if isinstance(now, dict) and isinstance(then, dict) and now["name"] == then["name"]:
                options = {**then["options"], **now["options"]}
                names = [n for n in options if then["options"].get(n) != now["options"].get(n)]
                part = f"{part}'s {names[0]}" if names else part
                if names:
                    then, now = then["options"].get(names[0]), now["options"].get(names[0])
            raise ConfigError(
                f"the run in {run.directory} is of another experiment: its {part} was {then}, "
                f"and is {now} now"
            )


def check_files(run: Run, now: dict[str, str]) -> None:
    """Raises `ConfigError` if a file of the user's is not what it was."""
    for source, then in run.config.get("fingerprints", {}).items():
        if now.get(source) != then:
            raise ConfigError(
                f"{source} has changed since the run in {run.directory} began: undo that, or go on "
                "all the same with --allow-changes (in Python, allow_changes=True)"
            )


def in_precision(records: Iterator[Record], float64: bool) -> Iterator[Record]:
    """The records, made in this precision, while the caller computes in another between them."""
    while True:
        with jax.enable_x64(float64):
            record = next(records, None)
        if record is None:
            return
        yield record
