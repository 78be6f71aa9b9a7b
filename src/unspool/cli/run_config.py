"""The settings of a run, of whichever version."""

from pathlib import Path

from .._config.build import Training, build_training
from .._config.run import run_settings
from .._config.train_config import TrainConfig
from .._run import Run
from .errors import as_usage_errors
from .train_config import parse_train_config


def find_settings(run: Run) -> tuple[TrainConfig, Path]:
    """The settings of a run, and the directory that they name files relative to.

    Those of version 0.1 hold the words of a command line instead.
    """
    if "settings" in run.config or "command" not in run.config:
        return run_settings(run)
    start = (run.directory / run.config["from"]).resolve()
    with as_usage_errors("in the settings"):
        return parse_train_config(run.config["command"], start).config, start


def rebuild(run: Run) -> Training:
    """The objects that a run trains, built anew from its settings."""
    config, start = find_settings(run)
    with as_usage_errors("in the settings"):
        return build_training(config, start)
