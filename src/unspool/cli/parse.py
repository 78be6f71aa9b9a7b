"""Typed functions as commands: tyro parses their arguments, and a mistake is one sentence."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from .._config.options import REQUIRED, Option
from .errors import HelpShown, UsageError, as_flags, as_usage_errors
from .explain import explain


class Help(NamedTuple):
    """The help of a parameter of a command, in its annotation.

    - `text`: what it is for.
    - `shown`: the default as text, where it depends on something.
    - `metavar`: what a value is called.
    """

    text: str
    shown: str | None = None
    metavar: str | None = None


class Group(NamedTuple):
    """Further options of a command, under a heading of their own.

    - `prefix`: what they begin with: `problem.` for `--problem.NAME`.
    """

    options: Sequence[Option]
    prefix: str = ""


def call(function: Callable[..., Any], argv: Sequence[str], prog: str) -> int:
    """Calls a command with what is typed after its name; returns the exit code."""
    given = parse(function, argv, prog)
    own = options_of(function)
    positional = [given.pop(option.name) for option in own if option.positional]
    with as_flags([option.name for option in own]), as_usage_errors(f"in {prog}"):
        return function(*positional, **given) or 0


def options_of(function: Callable[..., Any]) -> list[Option]:
    """The parameters of a command."""
    hints = typing.get_type_hints(function, include_extras=True)
    options = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, about = typing.get_args(hints[name])
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        options.append(
            Option(
                name, kind, parameter.default, about.text, about.shown,
                metavar=about.metavar, positional=positional,
            )
        )  # fmt: skip
    return options


def parse(
    command: Callable[..., Any] | Sequence[Option],
    argv: Sequence[str],
    prog: str,
    *,
    description: str | None = None,
    groups: Mapping[str, Group] | None = None,
) -> dict[str, Any]:
    """A value for every parameter of a command, and for each group a dictionary of them.

    **Raises:** `UsageError`; `SystemExit` after the help that `--help` prints.
    """
    own = options_of(command) if callable(command) else command
    if description is None:
        description = inspect.getdoc(command)
    groups = {name: group for name, group in (groups or {}).items() if group.options}
    if not {"-h", "--help"} & set(argv):
        every = [("", own), *((group.prefix, group.options) for group in groups.values())]
        if mistake := explain(argv, every, prog):
            raise UsageError(mistake)
    fields: list[Any] = [_field(option) for option in own]
    for name, group in groups.items():
        make = make_record(name, group.options)
        make = Annotated[make, tyro.conf.arg(name=group.prefix.rstrip(".") or name)]
        # With a name that no option has.
        fields.append((f"{name}_", make if group.prefix else tyro.conf.OmitArgPrefixes[make]))
    make = dataclasses.make_dataclass("options", fields, kw_only=True)
    try:
        given = tyro.cli(make, prog=prog, description=description, args=argv)
    except SystemExit as ending:
        raise (SystemExit(2) if ending.code else HelpShown(0)) from None
    values = {option.name: getattr(given, option.name) for option in own}
    return values | {name: vars(getattr(given, f"{name}_")) for name in groups}


def make_record(name: str, options: Sequence[Option]) -> Any:
    """A dataclass with a field for each option, as tyro takes them."""
    return dataclasses.make_dataclass(name, map(_field, options), kw_only=True)


def _field(option: Option) -> tuple[str, Any, Any]:
    """An option as a field of a dataclass."""
    hint = f"(default: {option.shown})" if option.shown else None
    metavar = option.metavar or _metavar(option.kind)
    argument = tyro.conf.arg(help=option.help, help_behavior_hint=hint, metavar=metavar)
    kind = Annotated[option.kind, argument]
    default = dataclasses.MISSING if option.default is REQUIRED else option.default
    if option.positional:
        kind = tyro.conf.Positional[kind]
    return option.name, kind, dataclasses.field(default=default)


def _metavar(kind: Any) -> str | None:
    """`INT` for a number that may be left open, which tyro would call `{None}|INT`."""
    parts = set(typing.get_args(kind)) - {type(None)}
    part = parts.pop() if len(parts) == 1 and typing.get_origin(kind) is not tuple else None
    return {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}.get(part)  # pyright: ignore
