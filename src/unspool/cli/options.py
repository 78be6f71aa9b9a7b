"""Constructors as options: types and defaults from the signature, help from the docstring."""

import argparse
import dataclasses
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .docs import argument_docs
from .mistakes import Mistake, suggest

REQUIRED = inspect.Parameter.empty
_SIMPLE = (bool, int, float, str)


@dataclasses.dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    - `kind`: the type of a value; `count` of them, `"*"` for any number, `None` for a bare one.
    - `default`: what holds if it is not given; `REQUIRED` if something must be.
    - `shown`: the default in words, where it depends on something.
    """

    name: str
    kind: type
    count: int | str | None
    default: Any
    help: str
    shown: str | None = None

    def flag(self, prefix: str) -> str:
        return f"--{prefix}{self.name.replace('_', '-')}"


class Parser(argparse.ArgumentParser):
    """An `argparse` parser that raises `Mistake` instead of printing usage."""

    def __init__(self, **settings: Any):
        super().__init__(
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
                prog, max_help_position=28
            ),
            **settings,
        )
        # argparse of Python 3.11 takes -1e-3 for an option.
        self._negative_number_matcher = re.compile(r"^-(\d|\.\d|inf|nan)")

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (--\S+(?:, --\S+)*|\S+): ", r"\1 ", message)
        message = re.sub(r"expected (\S+) argument", r"takes \1 value", message)
        raise Mistake(message.replace("the following arguments are required:", "name at least one"))

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values that were given; what is left over is a mistake."""
        known, rest = self.parse_known_args(arguments)
        for word in rest:
            if word.startswith("--"):
                name = word.partition("=")[0]
                raise Mistake(f"there is no option {name}{suggest(name, self._flags())}")
        if rest:
            raise Mistake(f"unexpected argument {rest[0]!r}: see {self.prog} --help")
        return vars(known)

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]


def find_options(
    constructor: Callable[..., Any], fill: Mapping[str, Any] | None = None
) -> list[Option]:
    """The arguments of a class that fit on a command line: numbers, words, and rows of them.

    `fill` has defaults for arguments that have none of their own.
    """
    signature = _signature(constructor)
    docs = argument_docs(inspect.getdoc(constructor) or "", list(signature))
    factories = {}
    if dataclasses.is_dataclass(constructor):
        factories = {
            field.name: field.default_factory
            for field in dataclasses.fields(constructor)
            if field.default_factory is not dataclasses.MISSING
        }
    options = []
    for name, parameter in signature.items():
        default = factories[name]() if name in factories else parameter.default
        if default is REQUIRED and fill is not None:
            default = fill.get(name, REQUIRED)
        shape = _shape(parameter.annotation, default)
        if shape is not None:
            options.append(Option(name, *shape, default, docs.get(name, "")))
    return options


def out_of_reach(constructor: Callable[..., Any], options: Sequence[Option]) -> list[str]:
    """Arguments that have to be given and are not among the options."""
    reached = {option.name for option in options}
    return [
        name
        for name, parameter in _signature(constructor).items()
        if parameter.default is REQUIRED and name not in reached
    ]


def add_options(parser: Parser, title: str, options: Sequence[Option], prefix: str = "") -> None:
    """Puts options into a group of the parser's help. Only those that are given are read."""
    group = parser.add_argument_group(title)
    for option in options:
        shown = option.shown or show(option.default)
        text = option.help
        if option.default is not REQUIRED:
            text += f" (default: {shown})"
        settings: dict[str, Any] = {
            "dest": prefix + option.name,
            "default": argparse.SUPPRESS,
            "help": text.strip().replace("%", "%%"),
        }
        if option.kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["type"] = _READERS[option.kind]
            settings["metavar"] = option.kind.__name__.upper()
            settings["nargs"] = option.count
        group.add_argument(option.flag(prefix), **settings)


def collect(options: Sequence[Option], given: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A value for every option: the one given, or the default."""
    values = {}
    for option in options:
        value = given.get(prefix + option.name, option.default)
        if value is REQUIRED:
            raise Mistake(f"{option.flag(prefix)} must be given: {option.help or 'a value'}")
        values[option.name] = tuple(value) if isinstance(value, list) else value
    return values


def as_arguments(options: Sequence[Option], values: dict[str, Any], prefix: str = "") -> list[str]:
    """The command line that gives these values, `None` left out."""
    words = []
    for option in options:
        value, flag = values[option.name], option.flag(prefix)
        if value is None:
            continue
        if option.kind is bool:
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif option.count is None:
            # Joined, so that a text may begin with a dash.
            words.append(f"{flag}={value}")
        else:
            words += [flag, *map(str, value)]
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


def _shape(annotation: Any, default: Any) -> tuple[type, int | str | None] | None:
    """The type of a value and how many there are; `None` if it does not fit on a command line."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _SIMPLE:
        return annotation, None
    if origin is typing.Annotated:
        return _shape(parts[0], default)
    if origin in (typing.Union, types.UnionType):
        some = [part for part in parts if part is not type(None)]
        if len(some) == 1:
            return _shape(some[0], default)
        is_path = set(some) == {str, os.PathLike} or set(some) == {str, Path}
        return (str, None) if is_path else _shape_of_value(default)
    if origin is tuple and parts:
        kinds = {part for part in parts if part is not Ellipsis}
        if len(kinds) == 1 and kinds <= set(_SIMPLE):
            return kinds.pop(), "*" if Ellipsis in parts else len(parts)
        return None
    return _shape_of_value(default)


def _shape_of_value(value: Any) -> tuple[type, int | str | None] | None:
    if type(value) in _SIMPLE:
        return type(value), None
    if isinstance(value, (list, tuple)) and value:
        kinds = {type(item) for item in value}
        kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
        return (kind, "*") if kind in (int, float, str) else None
    return None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        if (value := float(text)).is_integer() and abs(value) < 2**53:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: text.casefold() in ("1", "true", "yes"),
    int: _integer,
    float: _number,
    str: str,
}
