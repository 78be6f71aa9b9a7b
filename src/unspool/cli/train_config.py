"""The settings that a command line of `unspool train` gives."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._config import names
from .._config.build import (
    LEARNING_RATE,
    convert,
    estimator_options,
    schedule_options,
    takes_learning_rate,
)
from .._config.docs import first_sentence, summary
from .._config.names import Found
from .._config.options import Option, find_objects, find_options
from .._config.train_config import Spec, TrainConfig, check_positive
from .errors import UsageError
from .options import parse

_SHOWN_DEFAULTS = {
    "log_every": "a hundredth of all",
    "checkpoint_every": "a fifth of all",
    "evaluate_every": "none",
    "chunk": "all",
    "clip_norm": "none",
    "label": "the estimator's name",
}
_PROBLEM_AND_ESTIMATOR = (
    "name the problem and the estimator first: unspool train PROBLEM ESTIMATOR, or a file of both "
    "with --config FILE"
)


class Asked(NamedTuple):
    """The wishes of a command line: the settings, and the directory of the run if it names one."""

    config: TrainConfig
    directory: str | None


class _Part(NamedTuple):
    """A class or function with its options, those of the objects it takes included."""

    spec: Spec
    options: list[Option]
    prefix: str
    key: str
    objects: dict[str, "_Part"]


def training_options(given: TrainConfig | None = None) -> list[Option]:
    """The options of every training, with defaults from settings that are given."""
    own = [
        Option("optimizer", str, "adam", "one of optax; with it, --help has its options"),
        Option("learning_rate", float, LEARNING_RATE, "its step size, above 0"),
        Option("schedule", str | None, None, "course of the learning rate", "constant"),
    ]
    defaults = {o.name: getattr(given, o.name) for o in find_options(TrainConfig)} if given else {}
    further = [
        dataclasses.replace(
            option,
            default=defaults.get(option.name, option.default),
            shown=_SHOWN_DEFAULTS.get(option.name) if defaults.get(option.name) is None else None,
        )
        for option in find_options(TrainConfig)
    ]
    if given is not None:
        rate = given.optimizer.options.get("learning_rate", LEARNING_RATE)
        schedule = None if given.schedule is None else given.schedule.name
        new = {"optimizer": given.optimizer.name, "learning_rate": rate, "schedule": schedule}
        own = [dataclasses.replace(o, default=new[o.name]) for o in own]
    return [
        *own,
        *further,
        Option("directory", str | None, None, "where to write", "in runs"),
        Option("config", str | None, None, "settings to begin with: .json, .toml, .yaml", "none"),
    ]


def read_base(argv: Sequence[str]) -> TrainConfig | None:
    """The settings in the file that `--config` names."""
    file = _scan(argv, "--config")
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
    words, rest = _split(argv)
    if base is None and len(words) < 2:
        raise UsageError(_PROBLEM_AND_ESTIMATOR)
    specs = [base.problem, base.estimator] if base else [Spec(""), Spec("")]
    for place, word in enumerate(words):
        specs[place] = specs[place] if specs[place].name == word else Spec(word)
    problem = _part(names.find("problem", specs[0].name, start), specs[0], "problem.", rest, start)
    found = names.find("estimator", specs[1].name, start)
    estimator = _part(found, specs[1], "", rest, start)
    training = training_options(base)
    taken = {o.name for o in [*estimator.options, *training]}
    optimizer = _optimizer(base, rest, start, taken)
    schedule = _schedule(base, rest, start)
    parts = [problem, estimator, *optimizer, *schedule]
    every = [*parts, *(each for part in parts for each in part.objects.values())]
    if {"--help", "-h"} & set(rest) and _scan(rest, "--optimizer") is None:
        every = [part for part in every if part not in optimizer]  # So that it fits a screen.
    groups = {part.key: part.options for part in every}
    given = parse(
        rest,
        prog=f"unspool train {' '.join(words)}".strip(),
        description="\n\n".join(_about(names.find(what, spec.name, start)) for what, spec in
                                zip(("problem", "estimator"), specs, strict=True)),
        prefixes={part.key: part.prefix for part in every},
        **groups,
        training=training,
    )  # fmt: skip
    settings = given.pop("training")
    directory, rate = settings.pop("directory"), settings.pop("learning_rate")
    del settings["config"], settings["optimizer"], settings["schedule"]
    name = optimizer[0].spec.name
    of_optimizer = {k: v for part in optimizer for k, v in _values(part, given).items()}
    if takes_learning_rate(names.find("optimizer", name, start)):
        of_optimizer["learning_rate"] = rate
    try:
        check_positive("learning_rate", rate)
        config = TrainConfig(
            problem=Spec(problem.spec.name, _values(problem, given)),
            estimator=Spec(estimator.spec.name, _values(estimator, given)),
            optimizer=Spec(name, of_optimizer),
            schedule=Spec(schedule[0].spec.name, _values(schedule[0], given)) if schedule else None,
            **settings,
        )
    except ValueError as error:
        raise UsageError(as_flag(str(error), ["learning_rate", *settings])) from error
    return Asked(config, directory)


def as_flag(message: str, known: Sequence[str]) -> str:
    """A message that begins with a setting's name, with the option instead."""
    name, space, text = message.partition(" ")
    return f"--{name.replace('_', '-')}{space}{text}" if name in known else message


def _part(found: Found, spec: Spec, prefix: str, argv: Sequence[str], start: Path) -> _Part:
    """The options of a problem or an estimator, and of those objects that it takes."""
    if not found.takes_options:
        return _Part(spec, [], prefix, _key(prefix, "estimator"), {})
    is_estimator = prefix == ""
    options = estimator_options(found.thing) if is_estimator else find_options(found.thing)
    options = _with_defaults(options, spec.options)
    objects = {}
    for option in find_objects(found.thing):
        base = _as_spec(spec.options.get(option.name))
        name = _scan(argv, option.flag(prefix))
        options.append(dataclasses.replace(option, default=base.name if base else None))
        if name is None and base is None:
            continue
        own = base if base and name in (None, base.name) else Spec(name or "")
        what = "directions" if option.name == "directions" else "object"
        of_own = names.find(what, own.name, start)
        further = find_options(of_own.thing) if of_own.takes_options else []
        further = _with_defaults(further, own.options)
        own_prefix = f"{prefix}{option.name}."
        objects[option.name] = _Part(own, further, own_prefix, _key(own_prefix, ""), {})
    return _Part(spec, options, prefix, _key(prefix, "estimator"), objects)


def _optimizer(
    base: TrainConfig | None, argv: Sequence[str], start: Path, taken: set[str]
) -> list[_Part]:
    """The optimizer's options; those whose name is taken begin with `--optimizer.`."""
    spec = base.optimizer if base else Spec("adam")
    name = _scan(argv, "--optimizer")
    spec = names.with_momentum(spec if name in (None, spec.name) else Spec(name))
    found = names.find("optimizer", spec.name, start)
    options = find_options(found.thing) if found.takes_options else []
    options = [
        dataclasses.replace(option, help=first_sentence(option.help))
        for option in _with_defaults(options, spec.options)
        if option.name != "learning_rate"
    ]
    plain = [option for option in options if option.name not in taken]
    shared = [option for option in options if option.name in taken]
    key = re.sub(r"\W", "_", spec.name.rpartition(":")[2])
    parts = [_Part(spec, plain, "", f"{key}", {})]
    return parts + [_Part(spec, shared, "optimizer.", "optimizer", {})] * bool(shared)


def _schedule(base: TrainConfig | None, argv: Sequence[str], start: Path) -> list[_Part]:
    spec, name = base.schedule if base else None, _scan(argv, "--schedule")
    spec = Spec(name) if name is not None and (spec is None or spec.name != name) else spec
    if spec is None or spec.name == "None":
        return []
    make = names.find("schedule", spec.name, start).thing
    options = []
    for option in schedule_options(make, 1):
        shown = {"decay_steps": "num_updates", "transition_steps": "num_updates"}
        shown["warmup_steps"] = "a tenth of num_updates"
        if option.name in shown:
            option = dataclasses.replace(
                option, kind=int | None, default=None, shown=shown[option.name]
            )
        help_text = first_sentence(option.help) or f"as of optax.{make.__name__}"
        options.append(dataclasses.replace(option, help=help_text))
    return [_Part(spec, _with_defaults(options, spec.options), "schedule.", "schedule", {})]


def _values(part: _Part, given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The options as data: what was parsed, and what no option can give."""
    values = part.spec.options | given[part.key]
    for name, own in part.objects.items():
        values[name] = Spec(own.spec.name, _values(own, given))
    known = {option.name for option in part.options}
    left_open = {name for name in known if values[name] is None and _is_open(part, name)}
    return {name: value for name, value in values.items() if name not in left_open}


def _is_open(part: _Part, name: str) -> bool:
    """True if a default is to be filled in for an option that is `None`."""
    (option,) = (option for option in part.options if option.name == name)
    return option.shown is not None


def _with_defaults(options: Sequence[Option], values: dict[str, Any]) -> list[Option]:
    def given(option: Option) -> Option:
        value = convert(option.name, values[option.name], option.kind)
        return dataclasses.replace(option, default=value, shown=None)

    return [given(option) if option.name in values else option for option in options]


def _as_spec(value: Any) -> Spec | None:
    if value is None or isinstance(value, Spec):
        return value
    return Spec(value) if isinstance(value, str) else Spec(**value)


def _about(found: Found) -> str:
    thing = found.thing if isinstance(found.thing, type) else type(found.thing)
    return f"{thing.__name__}: {summary(thing)}"


def _key(prefix: str, name: str) -> str:
    return re.sub(r"\W", "_", prefix.rstrip(".")) or name


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first option, two at most, and the rest."""
    count = 0
    while count < min(2, len(argv)) and not argv[count].startswith("-"):
        count += 1
    return list(argv[:count]), list(argv[count:])


def _scan(argv: Sequence[str], flag: str) -> str | None:
    """The value that is given last for an option, before all options are known."""
    found = None
    for place, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name == flag and equals:
            found = value
        elif name == flag and place + 1 < len(argv) and not argv[place + 1].startswith("-"):
            found = argv[place + 1]
    return found
