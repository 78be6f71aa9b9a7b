"""`unspool compare`: several estimators on one's own problem, with one report."""

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax

from .._config import names
from .._config.compare_config import CompareConfig
from .._config.options import Option, find_options, format_value
from .._config.train_config import Spec
from ..experiments.own import compare as _compare
from ..experiments.own.comparison import Comparison
from .errors import UsageError, as_flags, as_usage_errors
from .named import find_named, is_help, own_options, wants_float64
from .parse import Group, Help, call, parse
from .parts import Part, find_part, groups_of, label_of, scan, split_words
from .show_experiment import show_experiment

_ABOUT = """\
Compare estimators on a problem of yours, at equal updates, equal problem steps (--num-steps) or
equal seconds (--seconds): unspool compare PROBLEM ESTIMATOR [ESTIMATOR ...] [options]

Each runs with several seeds, after its learning rate has been chosen of --learning-rates with other
seeds. Options of an estimator, such as --sigma, are for all that take it; --pes.sigma is for pes
alone. LABEL=ESTIMATOR names one that is there twice.

What is finished is kept. Its settings are written to compare.toml: edit it, and go on by
unspool compare --resume DIRECTORY"""
_PROG = "unspool compare"
_FURTHER = (
    "Options with the name of an estimator before them, as --pes.sigma, are for it alone. Further "
    "options, those of the comparison, stand in unspool compare --help."
)
_TAKEN = "optimizer.", "problem.", "schedule."
_SHOWN_DEFAULTS = {
    "learning_rates": "the optimizer's one",
    "num_updates": "1000 without any limit",
    "num_steps": "no limit",
    "seconds": "no limit",
    "log_every": "a hundredth of all",
    "evaluate_every": "a twentieth of all",
    "patience": "no limit",
    "target_loss": "none",
    "chunk": "all",
    "clip_norm": "none",
}


def compare(argv: Sequence[str]) -> int:
    """Runs what is not finished, writes the page, and prints a table; returns the exit code."""
    if argv and argv[0].partition("=")[0] == "--resume":
        return call(_resume, argv, _PROG)
    words, rest = split_words(argv, len(argv))
    file = scan(argv, "--config")
    base = None if file is None else CompareConfig.read(file)
    if base is None and len(words) < 2:
        if not argv or is_help(argv):
            prog = f"{_PROG} PROBLEM ESTIMATOR ..."
            parse(comparison_options(), ["--help"], prog, description=_ABOUT)
        raise UsageError(
            "name the problem and the estimators first: unspool compare PROBLEM ESTIMATOR "
            "ESTIMATOR, or a file of them with --config FILE"
        )
    with jax.enable_x64(True) if wants_float64(argv, base) else contextlib.nullcontext():
        with as_usage_errors("in the settings"):
            config, given = parse_compare_config(words, rest, Path.cwd(), base)
    name = names.kebab_case(label_of("problem", config.problem.name, Path.cwd()))
    run_comparison(config, given["directory"] or f"runs/compare-{name}", given["num_processes"])
    return 0


def run_comparison(config: CompareConfig, directory: str, num_processes: int | None = None) -> None:
    """Compares, with progress, and prints a table and how to go on."""
    with as_flags(["num_processes"]), as_usage_errors("in the settings"):
        with show_experiment() as on_progress:
            found = _compare.compare(
                config, directory, num_processes=num_processes, on_progress=on_progress
            )
    _print(found, directory)


def comparison_options(base: CompareConfig | None = None) -> list[Option]:
    """The options of every comparison, with defaults from settings that are given."""
    return [
        *own_options(CompareConfig, base, _SHOWN_DEFAULTS),
        Option("num_processes", int | None, None, "runs at a time", "one for each core"),
        Option("directory", str | None, None, "where to write", "in runs"),
        Option("config", str | None, None, "settings to begin with: .json, .toml, .yaml", "none"),
    ]


def _resume(
    *,
    resume: Annotated[str, Help("the directory of the comparison")],
    num_processes: Annotated[int | None, Help("runs at a time", "one for each core")] = None,
    allow_changes: Annotated[
        bool, Help("go on although a file of yours is not what it was")
    ] = False,
) -> None:
    """Go on with a comparison as its compare.toml says, which may have been edited."""
    with show_experiment() as on_progress:
        found = _compare.resume_comparison(
            resume, num_processes=num_processes, on_progress=on_progress,
            allow_changes=allow_changes,
        )  # fmt: skip
    _print(found, resume)


def _print(found: Comparison, directory: str) -> None:
    print(found)
    file = Path(directory) / _compare.COMPARE_FILE
    again = f"unspool compare --resume {shlex.quote(directory)}"
    print(f"to go on, with what you change in {file}: {again}", flush=True)


def parse_compare_config(
    words: Sequence[str], rest: Sequence[str], start: Path, base: CompareConfig | None = None
) -> tuple[CompareConfig, dict[str, Any]]:
    """The settings for `PROBLEM ESTIMATOR [ESTIMATOR ...]`, and all that was parsed.

    Files are relative to `start`. Words and options go before what stands in `base`.
    """
    problem = base.problem if base and not words else Spec(words[0])
    specs = _estimators(words[1:], start) if base is None or words[1:] else base.estimators
    parts = {
        label: find_part("estimator", spec, _prefix(label), rest, start)
        for label, spec in specs.items()
    }
    shared, options = _shared_options(parts), comparison_options(base)
    taken = {option.name for option in [*shared, *options]}
    named = find_named(problem, base, rest, start, taken)
    about = "\n\n".join([named.problem.about, *(part.about for part in parts.values())])
    groups = named.groups(rest, is_help(rest)) | {"all_estimators": Group(shared)}
    if is_help(rest):  # A screen of its own for each level.
        options, about = [], f"{about}\n\n{_FURTHER}"
    else:
        groups |= groups_of([_open(part) for part in parts.values()])
    prog = f"{_PROG} {' '.join(words)}".strip()
    given = parse(options, rest, prog, description=about, groups=groups)
    settings = {option.name: given[option.name] for option in find_options(CompareConfig)}
    with as_flags(["learning_rate", *settings]), as_usage_errors("in the settings"):
        config = CompareConfig(
            estimators={label: _settings(part, given) for label, part in parts.items()},
            **named.settings(given, start),
            **settings,
        )
    return config, given


def _estimators(words: Sequence[str], start: Path) -> dict[str, Spec]:
    """The estimators that are named, each under its label."""
    specs = {}
    for word in words:
        label, _, name = word.rpartition("=")
        if not label:
            label = label_of("estimator", name, start)
        if label in specs:
            raise UsageError(f"{label} is there twice: name them, as in a={name} b={name}")
        specs[label] = Spec(name)
    return specs


def _prefix(label: str) -> str:
    """The beginning of the options that are for one estimator alone."""
    prefix = re.sub(r"[^\w-]+", "-", label.lower()) + "."
    if prefix in _TAKEN:
        raise UsageError(f"an estimator cannot be called {label}: --{prefix} begins other options")
    return prefix


def _shared_options(parts: Mapping[str, Part]) -> list[Option]:
    """The options that any estimator has, for all that have them."""
    found: dict[str, Option] = {}
    for part in parts.values():
        for option in part.options:
            if option.name not in part.objects:
                found.setdefault(option.name, _optional(option))
    return list(found.values())


def _open(part: Part) -> Part:
    """An estimator with options that may all be left open."""
    return part._replace(options=[_optional(option) for option in part.options])


def _optional(option: Option) -> Option:
    usual = option.shown or format_value(option.default)
    return dataclasses.replace(option, kind=option.kind | None, default=None, shown=usual)


def _settings(part: Part, given: Mapping[str, Any]) -> Spec:
    """An estimator's settings: what is typed for it alone, or else for all, or else given."""
    own = {option.name for option in part.options}
    shared = {
        k: v for k, v in given.get("all_estimators", {}).items() if v is not None and k in own
    }
    return Spec(part.spec.name, part.spec.options | shared | _open(part).values(given))
