"""The loggers that settings name."""

from pathlib import Path

from .._logger import AbstractLogger
from .build import make_object
from .train_config import AbstractConfig


def make_loggers(config: AbstractConfig, start: Path) -> tuple[AbstractLogger, ...]:
    """New loggers, each for one run at a time.

    **Arguments:**

    - `start`: the directory that files and packages are looked for in.

    **Raises:** `ConfigError` for a name or an option that is not there, or a missing package.
    """
    return tuple(make_object("logger", spec, start)[1] for spec in config.log)
