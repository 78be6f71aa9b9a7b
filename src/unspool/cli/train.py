"""`unspool train`: one run in a directory, which can be stopped and resumed."""

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from .._config import names
from .._config.build import Training, build_training
from .._config.describe_run import describe_optimizer
from .._config.options import REQUIRED, Option, format_value
from .._config.run import create_run, reopen, try_out
from .._describe import describe
from .._run import Run
from .errors import UsageError, as_usage_errors
from .options import parse
from .run_config import find_settings
from .run_loop import run_loop
from .train_config import parse_train_config, read_base, training_options, wants_float64

_ABOUT = """\
Trains the parameters of a problem, and writes the run into a directory. With PROBLEM and ESTIMATOR,
--help has their options too; `unspool list` shows them, and optimizers and schedules.

Your own are named file.py:NAME or package.module:NAME. Instead of both names, --config FILE gives
settings. Ctrl-C ends a run at its next record; to go on with it, to the same bits:
unspool train --resume DIRECTORY [--num-updates N] [--allow-changes]"""


def train(argv: Sequence[str]) -> int:
    """Begins or resumes a run, and returns the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        _print_help()
    if argv[0].partition("=")[0] == "--resume":
        return _resume(argv)
    base = read_base(argv)
    if base is None and (len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-")):
        _print_help_if_asked(argv)
    with jax.enable_x64(True) if wants_float64(argv, base) else contextlib.nullcontext():
        with as_usage_errors("in the settings"):
            config, asked = parse_train_config(argv, Path.cwd(), base)
            training = build_training(config)
        _print_settings(training)
        with as_usage_errors("in the problem"):
            params, memory = try_out(training)
        directory = _make_directory(training, asked)
        run = create_run(training, params, directory)
        _print_size(run)
        print(f"{'memory':<10}{memory}")
        print(f"{'directory':<10}{run.directory}", flush=True)
        return run_loop(training, run, params)


def _resume(argv: Sequence[str]) -> int:
    changes = "go on although a file of yours is not what it was"
    given = parse(
        argv,
        prog="unspool train",
        description="Goes on with a stopped run, to the same bits.",
        run=[
            Option("resume", str, REQUIRED, "the directory of the run"),
            Option("num_updates", int | None, None, "updates to make in all", "those of the run"),
            Option("allow_changes", bool, False, changes),
        ],
    )["run"]
    directory, count = Path(given["resume"]), given["num_updates"]
    if count is not None and count < 1:
        raise UsageError(f"--num-updates must be an integer of at least 1, got {count}")
    run = Run.open(directory)
    with jax.enable_x64(bool(run.config.get("float64"))):
        config, start = find_settings(run)
        with as_usage_errors("in the problem"):
            run, training, params = reopen(run, config, start, count, given["allow_changes"])
        made = max(run.checkpoints, default=0)
        print(f"going on with {directory} from update {made}", flush=True)
        return run_loop(training, run, params)


def _make_directory(training: Training, asked: str | None) -> Path:
    """The directory that was asked for, or a new one under `runs`."""
    if asked is not None:
        directory = Path(asked)
        if (directory / "config.json").exists():
            raise UsageError(
                f"{directory} already holds a run: go on with it by `unspool train --resume "
                f"{shlex.quote(str(directory))}`, or name another --directory"
            )
        return directory
    parts = training.problem, training.estimator
    name = "-".join(names.kebab_case(type(part).__name__) for part in parts)
    number = 1
    while True:
        directory = Path("runs") / (name + (f"-{number}" if number > 1 else ""))
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UsageError(
                f"cannot write the run directory {directory}: {error.strerror}; name another "
                "with --directory"
            ) from error


def _print_settings(training: Training) -> None:
    """Prints what is trained and how, before anything is compiled."""
    estimator = describe(training.estimator)
    shown = {"problem": describe(training.problem), "estimator": estimator}
    shown["optimizer"] = describe_optimizer(training.config)
    for part, found in shown.items():
        options = found["options"].items()
        listed = ", ".join(f"{name} {_format_setting(value)}" for name, value in options)
        print(f"{part:<10}{found['name']}: {listed}")
    print("compiling", flush=True)


def _print_size(run: Run) -> None:
    precision = "float64" if run.config["float64"] else "float32"
    print(
        f"{'training':<10}{run.config['num_updates']} updates of {run.config['num_params']} "
        f"parameters in {precision}, seed {run.config['seed']}"
    )


def _format_setting(value: Any) -> str:
    """A setting; of one that has settings itself the name alone."""
    if isinstance(value, list):
        return " ".join(map(_format_setting, value))
    if isinstance(value, dict) and set(value) == {"name", "options"}:
        return value["name"]
    return format_value(value)


def _print_help_if_asked(argv: Sequence[str]) -> None:
    if "--help" in argv or "-h" in argv:
        _print_help()


def _print_help() -> None:
    prog = "unspool train PROBLEM ESTIMATOR"
    parse(["--help"], prog=prog, description=_ABOUT, training=training_options())
