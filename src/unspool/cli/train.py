"""`unspool train`: one run in a directory, which can be stopped and resumed."""

import contextlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from .._memory import Memory
from .._run import Run
from . import choices
from .errors import UsageError
from .options import REQUIRED, Option, format_value, parse
from .run_loop import run_loop
from .settings import training_options
from .train_config import TrainConfig, build_train_config, wants_float64

_ABOUT = """\
Trains the parameters of a problem, and writes the run into a directory, or goes on with a run:
unspool train --resume DIRECTORY [--num-updates N]

PROBLEM is one of the library's, or your own: file.py:Class, file.py:instance or
package.module:Class. With it and an estimator, --help lists the options of both.

  problems    {problems}
  estimators  {estimators}
  optimizers  {optimizers}

Ctrl-C ends a run at its next record; --resume goes on with it, to the same bits."""


def train(argv: Sequence[str]) -> int:
    """Begins or resumes a run, and returns the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        _print_help()
    if argv[0].partition("=")[0] == "--resume":
        return _resume(argv)
    if len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-"):
        _print_help_if_asked(argv)
        raise UsageError(
            "name the problem and the estimator first: unspool train PROBLEM ESTIMATOR"
        )
    with jax.enable_x64(True) if wants_float64(argv) else contextlib.nullcontext():
        config = build_train_config(argv, Path.cwd())
        params, memory = config.try_out()
        directory = _make_directory(config)
        build_again = {
            "command": config.argv,
            "from": os.path.relpath(Path.cwd(), directory),
        }
        run = Run.create(directory, config.describe(params) | build_again)
        _print_settings(run, memory)
        return run_loop(config, run, params)


def _resume(argv: Sequence[str]) -> int:
    given = parse(
        argv,
        prog="unspool train",
        description="Goes on with a stopped run, to the same bits.",
        run=[
            Option("resume", str, REQUIRED, "the directory of the run"),
            Option("num_updates", int | None, None, "updates to make in all", "those of the run"),
        ],
    )["run"]
    directory = Path(given["resume"])
    run = Run.open(directory)
    if "command" not in run.config:
        raise UsageError(f"the run in {directory} was not begun by `unspool train`")
    argv = list(run.config["command"])
    if given["num_updates"] is not None:
        argv.append(f"--num-updates={given['num_updates']}")
    with jax.enable_x64(bool(run.config["float64"])):
        config = build_train_config(argv, (directory / run.config["from"]).resolve())
        params, _ = config.try_out()
        described = config.describe(params)
        _check_same(run, described)
        total = config.settings.num_updates
        made = max(run.checkpoints, default=0)
        if made >= total:
            raise UsageError(
                f"the run in {directory} has made its {made} updates: "
                f"to go on, ask for more than {made} with --num-updates"
            )
        if total != run.config["num_updates"]:
            run = Run(directory, run.config | {"num_updates": total, "command": config.argv})
            _rewrite(directory / "config.json", run.config)
        print(f"going on with {directory} from update {made}", flush=True)
        return run_loop(config, run, params)


def _make_directory(config: TrainConfig) -> Path:
    """The directory that was asked for, or a new one under `runs`."""
    if config.settings.directory is not None:
        directory = Path(config.settings.directory)
        if (directory / "config.json").exists():
            raise UsageError(
                f"{directory} already holds a run: go on with it by `unspool train --resume "
                f"{shlex.quote(str(directory))}`, or name another --directory"
            )
        return directory
    number = 1
    while True:
        directory = Path("runs") / (config.name + (f"-{number}" if number > 1 else ""))
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


def _check_same(run: Run, described: dict[str, Any]) -> None:
    """Raises `UsageError` unless the run's arguments still give the settings that it began with."""
    described = json.loads(json.dumps(described))
    for part in ("problem", "estimator", "num_params"):
        if (now := described[part]) != (then := run.config[part]):
            if isinstance(now, dict) and isinstance(then, dict) and now["name"] == then["name"]:
                options = {**then["options"], **now["options"]}
                names = [n for n in options if then["options"].get(n) != now["options"].get(n)]
                part = f"{part}'s {names[0]}" if names else part
                if names:
                    then, now = then["options"].get(names[0]), now["options"].get(names[0])
            raise UsageError(
                f"the run in {run.directory} is of another experiment: its {part} was {then}, "
                f"and is {now} now"
            )


def _rewrite(path: Path, config: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(config, indent=1) + "\n")
    os.replace(partial, path)


def _print_settings(run: Run, memory: Memory) -> None:
    """Prints the settings in force, and the memory that they need."""
    for part in ("problem", "estimator", "optimizer"):
        options = run.config[part]["options"].items()
        listed = ", ".join(f"{name} {_format_setting(value)}" for name, value in options)
        print(f"{part:<10}{run.config[part]['name']}: {listed}")
    precision = "float64" if run.config["float64"] else "float32"
    print(
        f"{'training':<10}{run.config['num_updates']} updates of {run.config['num_params']} "
        f"parameters in {precision}, seed {run.config['seed']}"
    )
    print(f"{'memory':<10}{memory}")
    print(f"{'directory':<10}{run.directory}", flush=True)


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
    listed = {
        "problems": ", ".join(choices.problems()),
        "estimators": ", ".join(choices.estimators()),
        "optimizers": ", ".join(choices.optimizers()),
    }
    prog, about = "unspool train PROBLEM ESTIMATOR", _ABOUT.format(**listed)
    parse(["--help"], prog=prog, description=about, training=training_options())
