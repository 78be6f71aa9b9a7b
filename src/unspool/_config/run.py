"""A training in a run directory, begun and gone on with from its settings."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from .._custom_types import Params
from .._describe import describe, environment
from .._evaluate import evaluate
from .._joint import JointProblem
from .._memory import Memory
from .._params import map_arrays, split
from .._random import Purpose, stream
from .._run import Run
from .._train import predict_memory
from .._updates import Record
from ..records import EvaluationLine
from ..records.config import CONFIG_FORMAT
from .build import Training, build_training
from .errors import ConfigError, noting
from .load_object import fingerprint
from .names import find
from .options import find_options
from .train_config import TrainConfig, from_data, is_spec, to_data

_MAX_NAMED = 32


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
        _rewrite(run.directory / "config.json", run.config)
    return run, training, params


def describe_run(training: Training, params: Params) -> dict[str, Any]:
    """What reports read of a run, besides the settings that build it again."""
    config, estimator = training.config, describe(training.estimator)
    typed = {k: v for k, v in config.estimator.options.items() if not is_spec(v)}
    estimator["options"] |= typed
    trained, _ = split(params)
    num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(trained))
    return {
        "label": config.label or estimator["name"],
        "seed": config.seed,
        "problem": describe(_plain(training.joint)),
        "estimator": estimator | {"estimand": training.estimator.estimand},
        "optimizer": describe_optimizer(config),
        "num_updates": config.num_updates,
        "num_params": num_params,
        "parameter_names": name_entries(trained) if num_params <= _MAX_NAMED else None,
        "float64": jnp.result_type(float) == jnp.float64,
        "environment": environment(),
    }


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


def fingerprints(training: Training) -> dict[str, str]:
    """A digest of every file of the user's that the settings name."""
    names: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if is_spec(value):
                names.add(value["name"].rpartition(":")[0])
            for item in value.values():
                collect(item)

    collect(to_data(training.config))
    sources = sorted(n for n in names if n.partition(".")[0] not in ("unspool", "optax", ""))
    found = {source: fingerprint(source, training.start) for source in sources}
    return {source: digest for source, digest in found.items() if digest is not None}


def name_entries(params: Params, root: str = "") -> list[str]:
    """A name for every number in a tree, in the order of its leaves."""
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        own = jax.tree_util.keystr(path, simple=True, separator=".")
        name = ".".join(filter(None, (root, own))) or "params"
        for index in np.ndindex(np.shape(leaf)):
            names.append(name + "".join(f"[{i}]" for i in index))
    return names


def describe_optimizer(config: TrainConfig) -> dict[str, Any]:
    """The optimizer's name, and those of its options that are not optax's defaults."""
    name = config.optimizer.name.rpartition(":")[2]
    options = dict(config.optimizer.options)
    if config.optimizer.name.startswith("optax"):
        function = find("optimizer", config.optimizer.name, Path()).thing
        usual = {option.name: option.default for option in find_options(function)}
        options = {k: v for k, v in options.items() if k == "learning_rate" or v != usual.get(k)}
    if config.schedule is not None:
        schedule = config.schedule.name.rpartition(":")[2]
        options["schedule"] = {"name": schedule, "options": config.schedule.options}
    if config.clip_norm is not None:
        options["clip_norm"] = config.clip_norm
    return {"name": name, "options": options}


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


def _plain(joint: JointProblem) -> Any:
    """The one problem that there is, without the engine that runs it; or all of them."""
    engine, *others = joint.engines
    return joint if others else getattr(engine, "problem", engine)


def _rewrite(path: Path, config: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(config, indent=1) + "\n")
    os.replace(partial, path)
