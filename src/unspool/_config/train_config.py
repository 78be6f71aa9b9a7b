"""The settings of a training as data: no object in it, and no JAX needed to read or write it."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .._counts import as_count
from .errors import ConfigError, suggest
from .settings_file import read_settings, write_settings

C = TypeVar("C", bound="AbstractConfig")
T = TypeVar("T", bound=msgspec.Struct)

_PARTS = "problem", "estimator", "estimators", "optimizer", "schedule", "log"


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, repr_omit_defaults=True):
    """A class or a function by name, and what it is called with.

    **Arguments:**

    - `name`: one that the library exports, as `lorenz` or `unspool.problems:Lorenz`; or your own,
      `file.py:NAME` or `package.module:NAME`, where NAME may be a ready object too.
    - `options`: its arguments: numbers, texts, lists of them, and objects as further `Spec`s, in a
      file as tables of `name` and `options`.

    **Example:**

    >>> directions = unspool.Spec("orthogonal", {"size": 2})
    >>> unspool.Spec("nres", {"window": 20, "directions": directions}).name
    'nres'
    """

    name: str
    options: dict[str, Any] = {}


class AnnealConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a sigma that falls, and of steps that follow it.

    They are those of `Annealing`, which starts at the estimator's sigma, and of `clip_by_drift`.

    **Arguments:**

    - `floor`: least sigma; by default a tenth of the estimator's.
    - `factor`: what sigma is multiplied by when it falls, between 0 and 1.
    - `agreement`: cosine between episodes below which it falls, from -1 to 1.
    - `decay`: what steps are multiplied by in every update at the floor, at most 1.
    - `patience`: episodes that sigma waits for a first signal before it falls.
    - `drift`: sigmas that parameters move in an episode at most, in the root mean square.

    **Example:**

    >>> unspool.AnnealConfig(floor=0.01).factor
    0.5
    """

    floor: float | None = None
    factor: float = 0.5
    agreement: float = 0.6
    decay: float = 0.98
    patience: int = 5
    drift: float = 1.0


class AbstractConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True
):
    """The settings that a training and a comparison of trainings have in common."""

    problem: Spec
    optimizer: Spec = Spec("adam", {"learning_rate": 0.01})
    schedule: Spec | None = None
    clip_norm: float | None = None
    anneal: AnnealConfig | None = None
    seconds: float | None = None
    float64: bool = False
    log_every: int | None = None
    num_episodes: int = 100
    evaluate_every: int | None = None
    patience: int | None = None
    target_loss: float | None = None
    chunk: int | None = None
    log: tuple[Spec, ...] = ()

    @classmethod
    def read(cls: type[C], file: str | os.PathLike[str]) -> C:
        """The settings in a JSON, TOML or YAML file, or those of a run in its `config.json`.

        A `file.py` that it names lies relative to the file itself; what is returned names it
        relative to the current directory. Nothing is imported or run.

        **Raises:** `ConfigError` for what cannot be read, or is not settings.
        """
        path = Path(file)
        values = read_settings(path)
        base = path.parent
        if "command" in values:
            raise ConfigError(
                f"{path} is of a run of version 0.1: `unspool train --resume {path.parent}` goes "
                "on with it, and writes it anew"
            )
        if "settings" in values:
            base, values = base / values.get("from", "."), values["settings"]
        return relocate(from_data(values, str(path), cls), base, Path.cwd())

    def write(self, file: str | os.PathLike[str]) -> None:
        """Writes the settings as JSON, TOML or YAML, as the ending of the file's name says.

        A `file.py` is then relative to the file itself.

        **Raises:** `ConfigError` for what cannot be written.
        """
        path = Path(file)
        write_settings(path, to_data(relocate(self, Path.cwd(), path.parent)))


class TrainConfig(AbstractConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a training, as `unspool train` and `train_run` take them.

    **Arguments:**

    - `problem`, `estimator`: what is trained, and with which estimates.
    - `optimizer`: one of optax by name with its options, or a function of yours that makes one.
    - `schedule`: a schedule of optax by name, which the learning rate is the start or the peak of.
    - `clip_norm`: the norm that gradients are cut to.
    - `anneal`: how sigma falls, and steps with it; the learning rate is then the largest.
    - `num_updates`: updates to make in all, at least 1.
    - `seconds`: seconds of training, compilation left out, after which it ends at the next record,
      however many updates are left.
    - `seed`: the one source of randomness, up to 4294967295.
    - `float64`: compute in double precision.
    - `log_every`: updates between records.
    - `checkpoint_every`: updates between checkpoints.
    - `num_episodes`: fresh episodes of an evaluation, 0 for none.
    - `evaluate_every`: updates between further evaluations.
    - `patience`: evaluations in a row without a lower loss, after which training ends.
    - `target_loss`: evaluated loss at which training ends.
    - `chunk`: workers that run at once.
    - `log`: loggers, by name with their options: `tensorboard`, `wandb`, `mlflow`, or yours.
    - `label`: what reports call the run.

    With `None`, gradients are not cut, sigma stays as it is, updates alone end the training, there
    is a record every hundredth of all updates, an evaluation every tenth (with `seconds`, after
    every twentieth of them too) and a checkpoint every fifth, all workers run at once, and the
    label is the estimator's name. There is an evaluation at the start and at the end in any case.

    **Raises:** `ValueError` for a number out of range.

    **Example:**

    >>> config = unspool.TrainConfig(
    ...     problem=unspool.Spec("cubic"),
    ...     estimator=unspool.Spec("nres", {"num_workers": 2}),
    ...     num_updates=10,
    ... )
    >>> config.write("settings.toml")
    >>> unspool.TrainConfig.read("settings.toml") == config
    True
    >>> unspool.build_training(config).estimator.num_workers
    2
    """

    estimator: Spec
    num_updates: int = 1000
    seed: int = 0
    checkpoint_every: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "num_updates", "checkpoint_every")
        as_count("seed", self.seed, least=0, most=2**32 - 1)


def check_numbers(config: AbstractConfig, *counts: str) -> None:
    """Raises `ValueError` for a number out of range; `counts` are further ones, from 1 on."""
    for name in (*counts, "log_every", "evaluate_every", "patience", "chunk"):
        if (value := getattr(config, name)) is not None:
            as_count(name, value)
    as_count("num_episodes", config.num_episodes, least=0)
    for name in ("clip_norm", "seconds"):
        if (value := getattr(config, name)) is not None:
            check_positive(name, value)
    if config.target_loss is not None and not math.isfinite(config.target_loss):
        raise ConfigError(f"target_loss must be a finite number, got {config.target_loss}")
    for name in ("patience", "target_loss"):
        if getattr(config, name) is not None and config.num_episodes == 0:
            raise ConfigError(f"{name} needs evaluations: num_episodes must be at least 1, got 0")


def with_limits(config: "TrainConfig", limits: Mapping[str, Any]) -> "TrainConfig":
    """The settings with those of other limits that are not `None`."""
    given = {name: value for name, value in limits.items() if value is not None}
    return msgspec.structs.replace(config, **given)


def check_positive(name: str, value: Any) -> None:
    """Raises `ConfigError` unless it is a finite number above 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be a finite number above 0, got {value!r}")


def to_data(config: AbstractConfig) -> dict[str, Any]:
    """The settings as dictionaries, lists, numbers and texts."""
    return msgspec.to_builtins(config)


def from_data(values: dict[str, Any], source: str, kind: type[C] = TrainConfig) -> C:
    """The settings that dictionaries, lists, numbers and texts hold; `source` is for errors."""
    known = kind.__struct_fields__
    for name in values:
        if name not in known:
            raise ConfigError(f"{source}: there is no setting {name!r}{suggest(name, known)}")
    values = values | {name: _spelled_out(values[name]) for name in _PARTS if name in values}
    several = values.get("estimators")
    if isinstance(several, dict):
        several = {label: _spelled_out(value) for label, value in several.items()}
        for label, value in several.items():
            convert_settings(value, Spec, f"{source}: 'estimators': {label!r}")
        values["estimators"] = several
    return convert_settings(values, kind, source)


def _spelled_out(value: Any) -> Any:
    """A table in place of a name alone, which is short for one without options."""
    if isinstance(value, list):
        return [_spelled_out(item) for item in value]
    return {"name": value} if isinstance(value, str) else value


def convert_settings(values: Any, kind: type[T], source: str) -> T:
    """The record of a table; raises `ConfigError` with what would be legal."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        # Late, for the help waits for no NumPy.
        from ..records.files import describe_mistake

        raise ConfigError(source + describe_mistake(values, kind, error)) from error


def relocate(config: C, start: Path, target: Path) -> C:
    """The settings with `file.py` names that are relative to another directory."""
    if start.resolve() == target.resolve():
        return config

    def move(value: Any) -> Any:
        if isinstance(value, Spec):
            return Spec(move_name(value.name), move(value.options))
        if isinstance(value, dict):
            moved = {name: move(item) for name, item in value.items()}
            return moved | {"name": move_name(moved["name"])} if is_spec(value) else moved
        if isinstance(value, tuple):
            return tuple(map(move, value))
        return [move(item) for item in value] if isinstance(value, list) else value

    def move_name(name: str) -> str:
        source, colon, thing = name.rpartition(":") if ":" in name else (name, "", "")
        if not source.endswith(".py") or Path(source).is_absolute():
            return name
        return os.path.relpath(start / source, target) + colon + thing

    parts = [name for name in _PARTS if name in config.__struct_fields__]
    return msgspec.structs.replace(config, **{k: move(getattr(config, k)) for k in parts})


def is_spec(value: Any) -> bool:
    """True for a table of `name` and `options`, as a `Spec` stands in a file."""
    return (
        isinstance(value, dict)
        and set(value) <= {"name", "options"}
        and isinstance(value.get("name"), str)
    )
