"""The settings of a training as data: no object in it, and no JAX needed to read or write it."""

import json
import math
import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from .._counts import as_count
from .errors import ConfigError, suggest

_COUNTS = "num_updates", "log_every", "checkpoint_every", "evaluate_every", "chunk"
_PARTS = "problem", "estimator", "optimizer", "schedule"


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a training, as `unspool train` and `train_run` take them.

    **Arguments:**

    - `problem`, `estimator`: what is trained, and with which estimates.
    - `optimizer`: one of optax by name with its options, or a function of yours that makes one.
    - `schedule`: a schedule of optax by name, which the learning rate is the start or the peak of.
    - `clip_norm`: the norm that gradients are cut to.
    - `num_updates`: updates to make in all, at least 1.
    - `seed`: the one source of randomness, up to 4294967295.
    - `float64`: compute in double precision.
    - `log_every`: updates between records.
    - `checkpoint_every`: updates between checkpoints.
    - `num_episodes`: fresh episodes of an evaluation, 0 for none.
    - `evaluate_every`: updates between further evaluations.
    - `chunk`: workers that run at once.
    - `label`: what reports call the run.

    With `None`, gradients are not cut, there is a record every hundredth of all updates and a
    checkpoint every fifth, evaluations are at the start and at the end alone, all workers run at
    once, and the label is the estimator's name.

    **Raises:** `ValueError` for a number out of range.

    **Example:**

    >>> config = unspool.TrainConfig(
    ...     problem=unspool.Spec("cubic"),
    ...     estimator=unspool.Spec("nres", {"num_workers": 2}),
    ...     num_updates=10,
    ... )
    >>> config.write("settings.json")
    >>> unspool.TrainConfig.read("settings.json") == config
    True
    >>> unspool.build_training(config).estimator.num_workers
    2
    """

    problem: Spec
    estimator: Spec
    optimizer: Spec = Spec("adam", {"learning_rate": 0.01})
    schedule: Spec | None = None
    clip_norm: float | None = None
    num_updates: int = 1000
    seed: int = 0
    float64: bool = False
    log_every: int | None = None
    checkpoint_every: int | None = None
    num_episodes: int = 100
    evaluate_every: int | None = None
    chunk: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if (value := getattr(self, name)) is not None:
                as_count(name, value)
        as_count("num_episodes", self.num_episodes, least=0)
        as_count("seed", self.seed, least=0, most=2**32 - 1)
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> "TrainConfig":
        """The settings in a JSON, TOML or YAML file, or those of a run in its `config.json`.

        A `file.py` that it names lies relative to the file itself; what is returned names it
        relative to the current directory. Nothing is imported or run.

        **Raises:** `ConfigError` for what cannot be read, or is not settings.
        """
        path = Path(file)
        values = _parse(path)
        base = path.parent
        if "command" in values:
            raise ConfigError(
                f"{path} is of a run of version 0.1: `unspool train --resume {path.parent}` goes "
                "on with it, and writes it anew"
            )
        if "settings" in values:
            base, values = base / values.get("from", "."), values["settings"]
        return relocate(from_data(values, str(path)), base, Path.cwd())

    def write(self, file: str | os.PathLike[str]) -> None:
        """Writes the settings as JSON, in which a `file.py` is relative to the file itself."""
        moved = relocate(self, Path.cwd(), Path(file).parent)
        Path(file).write_text(json.dumps(to_data(moved), indent=1) + "\n")


def check_positive(name: str, value: Any) -> None:
    """Raises `ConfigError` unless it is a finite number above 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be a finite number above 0, got {value!r}")


def to_data(config: TrainConfig) -> dict[str, Any]:
    """The settings as dictionaries, lists, numbers and texts."""
    return msgspec.to_builtins(config)


def from_data(values: dict[str, Any], source: str) -> TrainConfig:
    """The settings that dictionaries, lists, numbers and texts hold; `source` is for errors."""
    known = TrainConfig.__struct_fields__
    for name in values:
        if name not in known:
            raise ConfigError(f"{source}: there is no setting {name!r}{suggest(name, known)}")
    # A name alone is short for one without options.
    short = {k: {"name": v} for k, v in values.items() if k in _PARTS and isinstance(v, str)}
    try:
        return msgspec.convert(values | short, TrainConfig)
    except msgspec.ValidationError as error:
        # Late, for the help waits for no NumPy.
        from ..records.files import describe_mistake

        raise ConfigError(source + describe_mistake(values | short, TrainConfig, error)) from error


def relocate(config: TrainConfig, start: Path, target: Path) -> TrainConfig:
    """The settings with `file.py` names that are relative to another directory."""
    if start.resolve() == target.resolve():
        return config

    def move(value: Any) -> Any:
        if isinstance(value, Spec):
            return Spec(move_name(value.name), move(value.options))
        if isinstance(value, dict):
            moved = {name: move(item) for name, item in value.items()}
            return moved | {"name": move_name(moved["name"])} if is_spec(value) else moved
        return [move(item) for item in value] if isinstance(value, (list, tuple)) else value

    def move_name(name: str) -> str:
        source, colon, thing = name.rpartition(":") if ":" in name else (name, "", "")
        if not source.endswith(".py") or Path(source).is_absolute():
            return name
        return os.path.relpath(start / source, target) + colon + thing

    return msgspec.structs.replace(config, **{k: move(getattr(config, k)) for k in _PARTS})


def is_spec(value: Any) -> bool:
    """True for a table of `name` and `options`, as a `Spec` stands in a file."""
    return (
        isinstance(value, dict)
        and set(value) <= {"name", "options"}
        and isinstance(value.get("name"), str)
    )


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


_PARSERS = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


def _parse(path: Path) -> dict[str, Any]:
    """The table in a file."""
    if path.suffix not in _PARSERS:
        raise ConfigError(f"{path} must end with .json, .toml, .yaml or .yml")
    try:
        values = _PARSERS[path.suffix](path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # So are the errors of JSON, TOML and what is no text.
    except ValueError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a table of settings, got {type(values).__name__}")
    return values
