"""The settings that a command line of `unspool train` gives."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._config import names
from .._config.build import LEARNING_RATE, takes_learning_rate
from .._config.options import Option, find_options
from .._config.train_config import Spec, TrainConfig, check_positive
from .errors import UsageError, as_flags, as_usage_errors
from .parse import parse
from .parts import Part, find_part, groups_of, optimizer_parts, scan, schedule_part, split_words

_SHOWN_DEFAULTS = {
    "log_every": "a hundredth of all",
    "checkpoint_every": "a fifth of all",
    "evaluate_every": "none",
    "chunk": "all",
    "clip_norm": "none",
    "label": "the estimator's name",
}
_FURTHER = "Further options, those of the training, stand in unspool train --help."


class Asked(NamedTuple):
    """The wishes of a command line: the settings, and the directory of the run if it names one."""

    config: TrainConfig
    directory: str | None
    seeds: int


def training_options(given: TrainConfig | None = None) -> list[Option]:
    """The options of every training, with defaults from settings that are given."""
    own = [
        Option("optimizer", str, "adam", "one of optax; with it, --help has its options"),
        Option("learning_rate", float, LEARNING_RATE, "its step size, above 0"),
        Option("schedule", str | None, None, "course of the learning rate", "constant"),
    ]
    options = [
        dataclasses.replace(option, shown=_SHOWN_DEFAULTS.get(option.name))
        for option in find_options(TrainConfig)
    ]
    if given is not None:
        rate = given.optimizer.options.get("learning_rate", LEARNING_RATE)
        schedule = None if given.schedule is None else given.schedule.name
        new = {"optimizer": given.optimizer.name, "learning_rate": rate, "schedule": schedule}
        new |= {option.name: getattr(given, option.name) for option in options}
        own = [dataclasses.replace(o, default=new[o.name]) for o in own]
        options = [
            dataclasses.replace(o, default=new[o.name], shown=None if new[o.name] else o.shown)
            for o in options
        ]
    return [
        *own,
        *options,
        Option("seeds", int, 1, "runs from so many seeds, side by side, with one report"),
        Option("directory", str | None, None, "where to write", "in runs"),
        Option("config", str | None, None, "settings to begin with: .json, .toml, .yaml", "none"),
    ]


def read_base(argv: Sequence[str]) -> TrainConfig | None:
    """The settings in the file that `--config` names."""
    file = scan(argv, "--config")
    return None if file is None else TrainConfig.read(file)


def wants_float64(argv: Sequence[str], base: TrainConfig | None) -> bool:
    """True if double precision is asked for, which must be known before all else."""
    asked = [argument for argument in argv if argument in ("--float64", "--no-float64")]
    return asked[-1] == "--float64" if asked else base is not None and base.float64


def parse_train_config(argv: Sequence[str], start: Path, base: TrainConfig | None = None) -> Asked:
    """The settings for `[PROBLEM ESTIMATOR] [options]`, with files relative to `start`.

    Options go before what stands in `base`.

    **Raises:** `UsageError` and `ConfigError`; `SystemExit` after the help that `--help` prints.
    """
    words, rest = split_words(argv, 2)
    if base is None and len(words) < 2:
        raise UsageError(
            "name the problem and the estimator first: unspool train PROBLEM ESTIMATOR, or a file "
            "of both with --config FILE"
        )
    specs = [base.problem, base.estimator] if base else [Spec(""), Spec("")]
    for place, word in enumerate(words):
        specs[place] = specs[place] if specs[place].name == word else Spec(word)
    problem = find_part("problem", specs[0], "problem.", rest, start)
    estimator = find_part("estimator", specs[1], "", rest, start)
    training = training_options(base)
    taken = {option.name for option in [*estimator.options, *training]}
    optimizer = list(optimizer_parts(_optimizer(base, rest), start, taken))
    schedule = _schedule(base, rest, start)
    parts = [problem, estimator, *optimizer, *schedule]
    description = f"{problem.about}\n\n{estimator.about}"
    if {"--help", "-h"} & set(rest):
        # A screen of its own for each level.
        training, description = [], f"{description}\n\n{_FURTHER}"
        parts = parts if scan(rest, "--optimizer") else [problem, estimator, *schedule]
    prog = f"unspool train {' '.join(words)}".strip()
    groups = groups_of(parts)
    given = parse(training, rest, prog, description=description, groups=groups)
    return _config(given, problem, estimator, optimizer, schedule, start)


def _config(
    given: dict[str, Any], problem: Part, estimator: Part, optimizer: list[Part],
    schedule: list[Part], start: Path,
) -> Asked:  # fmt: skip
    """The settings, from all that was parsed."""
    settings = {option.name: given[option.name] for option in find_options(TrainConfig)}
    of_optimizer = {name: value for part in optimizer for name, value in part.values(given).items()}
    spec, rate = optimizer[0].spec, given["learning_rate"]
    if takes_learning_rate(names.find("optimizer", spec.name, start)):
        of_optimizer["learning_rate"] = rate
    with as_flags(["learning_rate", *settings]), as_usage_errors("in the settings"):
        check_positive("learning_rate", rate)
        config = TrainConfig(
            problem=Spec(problem.spec.name, problem.values(given)),
            estimator=Spec(estimator.spec.name, estimator.values(given)),
            optimizer=Spec(spec.name, of_optimizer),
            schedule=Spec(schedule[0].spec.name, schedule[0].values(given)) if schedule else None,
            **settings,
        )
    return Asked(config, given["directory"], given["seeds"])


def _optimizer(base: TrainConfig | None, argv: Sequence[str]) -> Spec:
    spec, name = base.optimizer if base else Spec("adam"), scan(argv, "--optimizer")
    return spec if name in (None, spec.name) else Spec(name or "")


def _schedule(base: TrainConfig | None, argv: Sequence[str], start: Path) -> list[Part]:
    spec, name = base.schedule if base else None, scan(argv, "--schedule")
    spec = Spec(name) if name is not None and (spec is None or spec.name != name) else spec
    return [] if spec is None or spec.name == "None" else [schedule_part(spec, start)]
