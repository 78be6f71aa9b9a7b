"""Runs of whichever version, with their settings."""

import os
from pathlib import Path

import jax

from .._config.train_config import to_data
from .._run import Run
from .errors import as_usage_errors
from .train_config import parse_train_config


def open_run(directory: str | Path) -> Run:
    """The run in a directory, with settings.

    Those of version 0.1 hold the words of a command line instead, which are read anew.
    """
    run = Run.open(directory)
    if "settings" in run.config or "command" not in run.config:
        return run
    start = (run.directory / run.config["from"]).resolve()
    float64 = bool(run.config.get("float64"))
    with jax.enable_x64(float64), as_usage_errors("in the settings"):
        config = parse_train_config(run.config["command"], start).config
    settings = {"settings": to_data(config), "from": os.path.relpath(start, run.directory)}
    return Run(run.directory, run.config | settings)
