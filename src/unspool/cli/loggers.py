"""The loggers that a command line names, and their options: `--log wandb --wandb.project mine`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._config import names
from .._config.options import Option
from .._config.train_config import Spec
from .errors import UsageError
from .parts import Part, find_part, scan_several


def log_option(base: Sequence[Spec] = ()) -> Option:
    """The option that names loggers."""
    about = "where else to log: tensorboard, wandb, mlflow, or file.py:NAME, a function of a record"
    named = tuple(spec.name for spec in base)
    return Option("log", tuple[str, ...], named, about, None if named else "nowhere")


def logger_parts(base: Sequence[Spec], argv: Sequence[str], start: Path) -> list[Part]:
    """The loggers that are typed, or else those of the settings."""
    typed = scan_several(argv, "--log")
    known = {spec.name: spec for spec in base}
    specs = base if typed is None else [known.get(name, Spec(name)) for name in typed]
    parts = [find_part("logger", spec, f"{_key(spec)}.", argv, start) for spec in specs]
    for part in parts:
        if sum(other.prefix == part.prefix for other in parts) > 1:
            raise UsageError(f"--log: {part.spec.name} is there twice")
    return parts


def log_settings(parts: Sequence[Part], given: Mapping[str, Any]) -> tuple[Spec, ...]:
    """The loggers with their options, from all that was parsed."""
    return tuple(Spec(part.spec.name, part.values(given)) for part in parts)


def _key(spec: Spec) -> str:
    """The name that a logger's options begin with."""
    return names.kebab_case(spec.name.rpartition(":")[2])
