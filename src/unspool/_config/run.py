"""A training in a run directory, begun and gone on with from its settings."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec

from .._custom_types import Params
from .._evaluate import evaluate
from .._memory import Memory
from .._params import map_arrays
from .._random import Purpose, stream
from .._run import Run
from .._train import predict_memory
from .._updates import Record
from ..records import EvaluationLine
from ..records.config import CONFIG_FORMAT
from ..records.files import write_text
from .build import Training, build_training
from .describe_run import describe_run, fingerprints
from .errors import ConfigError, noting
from .train_config import TrainConfig, from_data, to_data


def train_run(config: TrainConfig, directory: str | Path) -> Iterator[Record]:
    """Trains as settings say, and writes the run into a new directory.

    Files of yours that the settings name are imported, which runs what is in them.

    **Arguments:**

    - `config`: the settings, with files relative to the current directory.
    - `directory`: where the run is written; it must not exist, or be empty.

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
        params, _ = try_out(training)
        run = create_run(training, params, Path(directory))
        records = run_records(training, run, params)
    yield from _each(records, config.float64)


def resume_run(
    directory: str | Path, *, num_updates: int | None = None, allow_changes: bool = False
) -> Iterator[Record]:
    """Goes on with a run that settings have begun, to the bits of one that never stopped.

    **Arguments:**

    - `directory`: of a run by `train_run` or `unspool train`.
    - `num_updates`: updates to make in all; by default those of the run.
    - `allow_changes`: go on although a file of yours is not what it was.

    **Returns:** an iterator of records, as `train_run` does.

    **Raises:** `ConfigError` and `RunError` for what cannot be gone on with, and as `train`.

    **Example**, after that of `train_run`:

    >>> [record.update for record in unspool.resume_run("runs/cubic", num_updates=5)]
    [5]
    """
    run = Run.open(directory)
    config, start = run_settings(run)
    with jax.enable_x64(config.float64):
        run, training, params = reopen(run, config, start, num_updates, allow_changes)
        records = run_records(training, run, params)
    yield from _each(records, config.float64)


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
    return config, (run.directory / run.config["from"]).resolve()


def try_out(training: Training) -> tuple[Params, Memory]:
    """The parameters at the start, and the memory that training with them needs.

    Everything is traced and compiled, so that what is wrong shows before a run begins.
    """
    config, joint = training.config, training.joint
    with noting("in the problem"):
        params = joint.init_params(key=stream(training.key, Purpose.PARAMS))
        joint.check(params)
        log_every = min(config.log_every or 1, config.num_updates)
        memory = predict_memory(
            joint, training.chunked, training.optimizer, params, log_every=log_every
        )
        memory.check()
    return params, memory


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
    run: Run, config: TrainConfig, start: Path, num_updates: int | None, allow_changes: bool
) -> tuple[Run, Training, Params]:
    """The run, what it trains, and its parameters, once all that is still the same.

    **Raises:** `ConfigError` if it is not, or if there is nothing left to do.
    """
    total = config.num_updates if num_updates is None else num_updates
    training = build_training(msgspec.structs.replace(config, num_updates=total), start)
    params, _ = try_out(training)
    described = describe_run(training, params)
    _check_same(run, described)
    if not allow_changes:
        _check_files(run, fingerprints(training))
    made = max(run.checkpoints, default=0)
    if made >= total:
        raise ConfigError(
            f"the run in {run.directory} has made its {made} updates: "
            f"to go on, ask for more than {made} with --num-updates"
        )
    again = {"format": CONFIG_FORMAT, "num_updates": total, "settings": to_data(training.config)}
    again["fingerprints"] = fingerprints(training)
    if any(run.config.get(name) != value for name, value in again.items()):
        kept = {name: value for name, value in run.config.items() if name != "command"}
        run = Run(run.directory, kept | again)
        write_text(run.directory / "config.json", json.dumps(run.config, indent=1) + "\n")
    return run, training, params


def run_records(training: Training, run: Run, params: Params) -> Iterator[Record]:
    """The records of a run, which are written down, and the evaluations that are due."""
    config = training.config
    records = run.train(
        training.joint, training.chunked, training.optimizer,
        num_updates=config.num_updates, key=training.key, params=params,
        log_every=config.log_every, checkpoint_every=config.checkpoint_every,
    )  # fmt: skip
    _evaluate_if_due(training, run, 0, params)
    for record in records:
        _evaluate_if_due(training, run, record.update, record.params)
        yield record


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


def _check_files(run: Run, now: dict[str, str]) -> None:
    """Raises `ConfigError` if a file of the user's is not what it was."""
    for source, then in run.config.get("fingerprints", {}).items():
        if now.get(source) != then:
            raise ConfigError(
                f"{source} has changed since the run in {run.directory} began: undo that, or go on "
                "all the same with --allow-changes (in Python, allow_changes=True)"
            )


def _evaluate_if_due(training: Training, run: Run, update: int, params: Params) -> None:
    # Read anew every time: a run that goes on drops the lines after its checkpoint.
    config, lines = training.config, run.read_evaluations()
    last = lines[-1].update if lines else None
    every = config.evaluate_every or config.num_updates
    due = last is None or update == config.num_updates or update - last >= every
    if config.num_episodes == 0 or not due or last == update:
        return
    params = map_arrays(jnp.asarray, params)
    found = evaluate(training.joint, params, key=training.key, num_episodes=config.num_episodes)
    line = EvaluationLine(
        update=update,
        loss=float(found.loss),
        standard_error=float(found.standard_error),
        num_episodes=found.num_episodes,
        dropped=int(found.dropped),
    )
    run.append(line)


def _each(records: Iterator[Record], float64: bool) -> Iterator[Record]:
    """The records, made in this precision, while the caller computes in another between them."""
    while True:
        with jax.enable_x64(float64):
            record = next(records, None)
        if record is None:
            return
        yield record
