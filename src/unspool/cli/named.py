"""What `unspool train` and `unspool compare` share: problem, optimizer, schedule, and settings."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .._config import names
from .._config.build import LEARNING_RATE, takes_learning_rate
from .._config.docs import first_sentence
from .._config.options import Option, find_options
from .._config.train_config import AbstractConfig, AnnealConfig, Spec, check_positive
from .loggers import log_option, log_settings, logger_parts
from .parse import Group
from .parts import Part, find_part, groups_of, optimizer_parts, scan, schedule_part, with_defaults


class Named(NamedTuple):
    """The parts that a command line names besides estimators, with their options."""

    problem: Part
    optimizer: list[Part]
    schedule: list[Part]
    loggers: list[Part]
    anneal: list[Option]

    def settings(self, given: Mapping[str, Any], start: Path) -> dict[str, Any]:
        """The entries of settings, from all that was parsed."""
        spec, rate = self.optimizer[0].spec, given["learning_rate"]
        options = {k: v for part in self.optimizer for k, v in part.values(given).items()}
        if takes_learning_rate(names.find("optimizer", spec.name, start)):
            check_positive("learning_rate", rate)
            options["learning_rate"] = rate
        wants_anneal = given["anneal"] or self.anneal
        anneal = AnnealConfig(**given.get("annealing", {})) if wants_anneal else None
        schedules = [Spec(part.spec.name, part.values(given)) for part in self.schedule]
        return {
            "problem": Spec(self.problem.spec.name, self.problem.values(given)),
            "optimizer": Spec(spec.name, options),
            "schedule": schedules[0] if schedules else None,
            "anneal": anneal,
            "log": log_settings(self.loggers, given),
        }

    def groups(self, argv: Sequence[str], is_asked: bool) -> dict[str, Group]:
        """The options as groups; in the help those of the optimizer only if it is named."""
        shown = [] if is_asked and scan(argv, "--optimizer") is None else self.optimizer
        groups = groups_of([self.problem, *shown, *self.schedule, *self.loggers])
        return groups | {"annealing": Group(self.anneal, "anneal.")}


def find_named(
    problem: Spec, base: AbstractConfig | None, argv: Sequence[str], start: Path, taken: set[str]
) -> Named:
    """What a command line names, or else the settings `base`; `taken` are names of options."""
    optimizer, schedule = (base.optimizer, base.schedule) if base else (Spec("adam"), None)
    optimizer, schedule = (
        _replaced(spec, scan(argv, flag))
        for spec, flag in ((optimizer, "--optimizer"), (schedule, "--schedule"))
    )
    has_schedule = schedule is not None and schedule.name != "None"
    return Named(
        find_part("problem", problem, "problem.", argv, start),
        list(optimizer_parts(optimizer or Spec("adam"), start, taken)),
        [schedule_part(schedule, start)] if schedule and has_schedule else [],
        logger_parts(base.log if base else (), argv, start),
        _anneal_options(base, argv),
    )


def _anneal_options(base: AbstractConfig | None, argv: Sequence[str]) -> list[Option]:
    """The options of a sigma that falls, if one is asked for."""
    asked = [word for word in argv if word.startswith(("--anneal", "--no-anneal"))]
    before = base.anneal if base else None
    if asked[-1:] == ["--no-anneal"] or not (asked or before):
        return []
    options = find_options(AnnealConfig)
    return with_defaults(options, msgspec.to_builtins(before) if before else {})


def own_options(
    config: type[AbstractConfig], base: AbstractConfig | None, shown: Mapping[str, str]
) -> list[Option]:
    """The options of a kind of settings, with defaults from such settings.

    `shown` tells the defaults that depend on something.
    """
    options = find_options(config)
    values = {option.name: getattr(base, option.name) for option in options} if base else {}
    optimizer = base.optimizer if base else Spec("adam")
    schedule = base.schedule.name if base and base.schedule else None
    rate = optimizer.options.get("learning_rate", LEARNING_RATE)
    return [
        Option("optimizer", str, optimizer.name, "one of optax; with it, --help has its options"),
        Option("learning_rate", float, rate, "its step size, above 0"),
        Option(
            "anneal",
            bool,
            base is not None and base.anneal is not None,
            "let sigma fall, and steps with it; with it, --help has its options",
        ),
        Option("schedule", str | None, schedule, "course of the learning rate", "constant"),
        log_option(base.log if base else ()),
        *(
            dataclasses.replace(
                option,
                help=first_sentence(option.help),
                default=values.get(option.name, option.default),
                shown=None if values.get(option.name) else shown.get(option.name),
            )
            for option in options
        ),
    ]


def wants_float64(argv: Sequence[str], base: AbstractConfig | None) -> bool:
    """True if double precision is asked for, which must be known before all else."""
    asked = [argument for argument in argv if argument in ("--float64", "--no-float64")]
    return asked[-1] == "--float64" if asked else base is not None and base.float64


def is_help(argv: Sequence[str]) -> bool:
    return bool({"--help", "-h"} & set(argv))


def _replaced(spec: Spec | None, name: str | None) -> Spec | None:
    """The spec, unless another one is typed."""
    return spec if name is None or (spec is not None and spec.name == name) else Spec(name)
