"""Constructors as options: types and defaults from the signature, help from the docstring.

tyro reads them; what it complains of becomes one sentence.
"""

import argparse
import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import tyro

from .docs import argument_docs
from .mistakes import Mistake, suggest

REQUIRED = inspect.Parameter.empty
_PREFIXED = "problem"
_SIMPLE = (bool, int, float, str, Path, type(None))
_REWORDED = {
    r"^Error parsing (\S+):": r"\1",
    r"^Missing value for argument '(\S+)'\. Expected 1 values\.": r"\1 takes one value",
    r"^Missing value for argument '(\S+)'\. Expected (\d+) values\.": r"\1 takes \2 values",
    r"invalid literal for int\(\) with base 10:": "must be an integer, got",
    r"could not convert string to float:": "must be a number, got",
    r"no type matching (.+) could be instantiated from \[(.*)\]\.": r"must be \1, got \2",
}


@dataclasses.dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    - `kind`: its type, which tyro reads.
    - `default`: what holds if it is not given; `REQUIRED` if something must be.
    - `shown`: the default in words, where it depends on something.
    """

    name: str
    kind: Any
    default: Any
    help: str
    shown: str | None = None

    def flag(self, prefix: str) -> str:
        return f"--{prefix}{self.name.replace('_', '-')}"

    @property
    def field(self) -> tuple[str, Any, Any]:
        """Itself as a field of a dataclass."""
        hint = f"(default: {self.shown})" if self.shown else None
        kind = Annotated[self.kind, tyro.conf.arg(help=self.help, help_behavior_hint=hint)]
        if self.default is REQUIRED:
            return self.name, kind, dataclasses.field()
        return self.name, kind, dataclasses.field(default=self.default)


def find_options(
    constructor: Callable[..., Any], fill: Mapping[str, Any] | None = None
) -> list[Option]:
    """The arguments of a class that fit on a command line: numbers, words, and rows of them.

    `fill` has defaults for arguments that have none of their own.
    """
    signature = _signature(constructor)
    docs = argument_docs(inspect.getdoc(constructor) or "", list(signature))
    factories = {
        field.name: field.default_factory
        for field in getattr(constructor, "__dataclass_fields__", {}).values()
        if field.default_factory is not dataclasses.MISSING
    }
    options = []
    for name, parameter in signature.items():
        default = factories[name]() if name in factories else parameter.default
        if default is REQUIRED:
            default = (fill or {}).get(name, REQUIRED)
        default = tuple(default) if isinstance(default, list) else default
        kind = parameter.annotation if _fits(parameter.annotation) else _kind_of(default)
        if kind is not None:
            kind = kind | None if default is None else kind
            options.append(Option(name, kind, default, docs.get(name, "")))
    return options


def out_of_reach(constructor: Callable[..., Any], options: Sequence[Option]) -> list[str]:
    """Arguments that have to be given and are not among the options."""
    needed = {k for k, v in _signature(constructor).items() if v.default is REQUIRED}
    return sorted(needed - {option.name for option in options})


def read(
    words: Sequence[str], *, prog: str, description: str, **groups: Sequence[Option]
) -> dict[str, dict[str, Any]]:
    """A value for every option of every group; those of `problem` are typed `--problem.NAME`.

    **Raises:** `Mistake`; `SystemExit` after the help that `--help` prints.
    """
    fields = []
    for name, options in groups.items():
        group = dataclasses.make_dataclass(name, [o.field for o in options], kw_only=True)
        fields.append((name, group if name == _PREFIXED else tyro.conf.OmitArgPrefixes[group]))
    make = dataclasses.make_dataclass("options", fields)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            given, rest = tyro.cli(
                make, prog=prog, description=description, args=words, return_unknown_args=True
            )
    except SystemExit as ending:
        if ending.code:
            raise Mistake(sentence_in(said.getvalue())) from None
        raise
    flags = [o.flag("problem." if g == _PREFIXED else "") for g, os in groups.items() for o in os]
    for word in rest:
        if word.startswith("--"):
            name = word.partition("=")[0]
            raise Mistake(f"there is no option {name}{suggest(name, flags)}")
    if rest:
        raise Mistake(f"unexpected argument {rest[0]!r}: see {prog} --help")
    return {name: vars(getattr(given, name)) for name in groups}


def sentence_in(box: str) -> str:
    """What tyro complains of in a box that it drew: the text above the first rule or gap."""
    lines = [line.strip("│| ") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]]
    said = " ".join(itertools.takewhile(lambda line: line.strip("─-╰╯+' "), lines))
    for pattern, words in _REWORDED.items():
        said = re.sub(pattern, words, said)
    return said


def as_arguments(options: Sequence[Option], values: dict[str, Any], prefix: str = "") -> list[str]:
    """The command line that gives these values, `None` left out."""
    words = []
    for option in options:
        value = values[option.name]
        if option.kind is bool:
            words.append(option.flag(prefix if value else prefix + "no-"))
        elif isinstance(value, tuple):
            words += [option.flag(prefix), *map(str, value)]
        elif value is not None:
            # Joined, so that a text may begin with a dash.
            words.append(f"{option.flag(prefix)}={value}")
    return words


def show(value: Any) -> str:
    """A default as it would be typed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(show, value)) or "none"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _signature(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    # A metaclass that takes (*args, **kwargs) hides the signature of the class itself.
    function = constructor.__init__ if isinstance(constructor, type) else constructor
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception:  # Annotations that cannot be evaluated: the defaults tell the types.
        signature = inspect.signature(function)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name != "self" and parameter.kind in named
    }


def _fits(kind: Any) -> bool:
    """Whether a type is a number, a word, one of some, or a row of them."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return all(map(_fits, parts))
    if origin is tuple:
        return bool(parts) and all(part is ... or part in _SIMPLE for part in parts)
    return origin is Literal or kind in _SIMPLE


def _kind_of(value: Any) -> Any:
    """The type that a default tells, if it fits on a command line."""
    if type(value) in (bool, int, float, str):
        return type(value)
    kinds = {type(item) for item in value} if isinstance(value, tuple) else set()
    kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
    return tuple[kind, ...] if kind in (int, float, str) else None


class Parser(argparse.ArgumentParser):
    """For commands that take names alone: raises `Mistake` instead of printing usage."""

    def error(self, message: str) -> NoReturn:
        message = message.replace("the following arguments are required:", "name at least one")
        raise Mistake(message)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        return vars(self.parse_args(arguments))
