"""The settings that a command line of `unspool train` gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .._config.options import Option, find_options
from .._config.train_config import Spec, TrainConfig
from .errors import UsageError, as_flags, as_usage_errors
from .named import find_named, is_help, own_options
from .parse import parse
from .parts import find_part, groups_of, scan, split_words

_SHOWN_DEFAULTS = {
    "log_every": "a hundredth of all",
    "checkpoint_every": "a fifth of all",
    "evaluate_every": "a tenth of all",
    "patience": "no limit",
    "target_loss": "none",
    "chunk": "all",
    "clip_norm": "none",
    "seconds": "no limit",
    "label": "the estimator's name",
}
_FURTHER = "Further options, those of the training, stand in unspool train --help."


class Asked(NamedTuple):
    """The wishes of a command line.

    - `config`: the settings.
    - `seeds`: how many seeds to train with, from that of the settings on.
    - `directory`: where to write, if it is said.
    """

    config: TrainConfig
    seeds: int
    directory: str | None


def training_options(base: TrainConfig | None = None) -> list[Option]:
    """The options of every training, with defaults from settings that are given."""
    return [
        *own_options(TrainConfig, base, _SHOWN_DEFAULTS),
        Option("seeds", int, 1, "runs from so many seeds, side by side, with one report"),
        Option("directory", str | None, None, "where to write", "in runs"),
        Option("config", str | None, None, "settings to begin with: .json, .toml, .yaml", "none"),
    ]


def read_base(argv: Sequence[str]) -> TrainConfig | None:
    """The settings in the file that `--config` names."""
    file = scan(argv, "--config")
    return None if file is None else TrainConfig.read(file)


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
    estimator = find_part("estimator", specs[1], "", rest, start)
    options = training_options(base)
    taken = {option.name for option in [*estimator.options, *options]}
    named = find_named(specs[0], base, rest, start, taken)
    about = f"{named.problem.about}\n\n{estimator.about}"
    if is_help(rest):  # A screen of its own for each level.
        options, about = [], f"{about}\n\n{_FURTHER}"
    prog = f"unspool train {' '.join(words)}".strip()
    groups = named.groups(rest, is_help(rest)) | groups_of([estimator])
    given = parse(options, rest, prog, description=about, groups=groups)
    settings = {option.name: given[option.name] for option in find_options(TrainConfig)}
    with as_flags(["learning_rate", *settings]), as_usage_errors("in the settings"):
        config = TrainConfig(
            estimator=Spec(estimator.spec.name, estimator.values(given)),
            **named.settings(given, start),
            **settings,
        )
    return Asked(config, given["seeds"], given["directory"])
