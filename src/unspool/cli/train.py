"""`unspool train`: one run in a directory, which can be stopped and resumed."""

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax

from .._config import names
from .._config.build import Training, build_training
from .._config.compare_config import CompareConfig
from .._config.describe_run import describe_optimizer
from .._config.loggers import make_loggers
from .._config.options import format_value
from .._config.run import compile_run, create_run, reopen, run_settings
from .._config.train_config import AbstractConfig, TrainConfig, with_limits
from .._counts import check_count
from .._describe import describe
from .._estimator.directions import GaussianDirections
from .._run import Run
from .errors import UsageError, as_flags, as_usage_errors
from .named import is_help, wants_float64
from .parse import Help, call, parse
from .parts import label_of, split_words
from .run_config import open_run
from .run_loop import run_loop
from .train_config import Asked, parse_train_config, read_base, training_options

_ABOUT = """\
Train the parameters of a problem, and write the run into a directory. With PROBLEM and ESTIMATOR,
--help has their options; `unspool list` shows them, and optimizers and schedules.

Your own are named file.py:NAME or package.module:NAME. Instead of both names, --config FILE gives
settings. Ctrl-C ends a run at its next record; to go on with it, to the same bits:
unspool train --resume DIRECTORY [--num-updates N] [--allow-changes]"""
_PROG = "unspool train"


def train(argv: Sequence[str]) -> int:
    """Begins or resumes a run, and returns the exit code."""
    if argv and argv[0].partition("=")[0] == "--resume":
        return call(_resume, argv, _PROG)
    base = read_base(argv)
    if (not argv or is_help(argv)) and base is None and len(split_words(argv, 2)[0]) < 2:
        parse(training_options(), ["--help"], f"{_PROG} PROBLEM ESTIMATOR", description=_ABOUT)
    with jax.enable_x64(True) if wants_float64(argv, base) else contextlib.nullcontext():
        with as_usage_errors("in the settings"):
            asked = parse_train_config(argv, Path.cwd(), base)
        if asked.seeds != 1:
            return _train_several(asked)
        with as_usage_errors("in the settings"):
            training = build_training(asked.config)
            loggers = make_loggers(asked.config, training.start)
        _print_settings(training)
        _print_choice(training, asked.config)
        print("compiling", flush=True)
        with as_usage_errors("in the problem"):
            compiled = compile_run(training)
        directory = _make_directory(training, asked.directory)
        run = create_run(training, compiled.params, directory)
        _print_size(run)
        print(f"{'memory':<10}{compiled.memory}")
        print(f"{'directory':<10}{run.directory}", flush=True)
        return run_loop(training, run, compiled, loggers)


def _train_several(asked: Asked) -> int:
    """Trains with several seeds: a comparison of a single estimator."""
    from .compare import run_comparison  # Not at the top, for it loads what draws and counts.

    config = asked.config
    shared = {name: getattr(config, name) for name in AbstractConfig.__struct_fields__}
    parts = ("problem", config.problem.name), ("estimator", config.estimator.name)
    problem, estimator = (label_of(what, name, Path.cwd()) for what, name in parts)
    with as_flags(["seeds"]), as_usage_errors("in the settings"):
        check_count(seeds=asked.seeds)
        comparison = CompareConfig(
            estimators={config.label or estimator: config.estimator}, seeds=asked.seeds,
            first_seed=config.seed, num_updates=config.num_updates, **shared,
        )  # fmt: skip
    name = f"{names.kebab_case(problem)}-{names.kebab_case(estimator)}-seeds"
    run_comparison(comparison, asked.directory or f"runs/{name}")
    return 0


def _resume(
    *,
    resume: Annotated[str, Help("the directory of the run")],
    num_updates: Annotated[int | None, Help("updates to make in all", "those of the run")] = None,
    patience: Annotated[
        int | None, Help("evaluations in a row without a lower loss, then it ends", "the run's")
    ] = None,
    target_loss: Annotated[
        float | None, Help("evaluated loss at which it ends", "the run's")
    ] = None,
    allow_changes: Annotated[
        bool, Help("go on although a file of yours is not what it was")
    ] = False,
) -> int:
    """Go on with a stopped run, to the same bits."""
    limits = {"num_updates": num_updates, "patience": patience, "target_loss": target_loss}
    run = open_run(resume)
    with jax.enable_x64(bool(run.config.get("float64"))):
        with as_usage_errors("in the problem"):
            config, start = run_settings(run)
            loggers = make_loggers(config, start)
            run, training, compiled = reopen(run, with_limits(config, limits), start, allow_changes)
        made = max(run.checkpoints, default=0)
        print(f"going on with {resume} from update {made}", flush=True)
        return run_loop(training, run, compiled, loggers)


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


def _print_choice(training: Training, asked: TrainConfig) -> None:
    """Prints which directions were chosen, where nobody has named any."""
    chosen = getattr(training.estimator, "directions", GaussianDirections())
    if "directions" not in asked.estimator.options and not isinstance(chosen, GaussianDirections):
        name = type(chosen).__name__
        print(f"directions {name} by default; --directions gaussian for independent ones")


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
