"""Options on the command line: tyro parses them, and its errors become one sentence."""

import contextlib
import dataclasses
import io
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from .._config.errors import suggest
from .._config.options import REQUIRED, Option
from .errors import HelpShown, UsageError, message_in_box

POSITIONAL = tyro.conf.Positional[tuple[str, ...]]
"""The kind of positional arguments."""


def parse(
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    prefixes: Mapping[str, str] | None = None,
    **groups: Sequence[Option],
) -> dict[str, dict[str, Any]]:
    """A value for every option of every group.

    `prefixes` are what the options of some groups begin with: `problem.` for `--problem.NAME`.

    **Raises:** `UsageError`; `SystemExit` after the help that `--help` prints.
    """
    fields, flags = [], ["--help"]
    for name, options in groups.items():
        prefix = (prefixes or {}).get(name, "")
        make = make_record(name, options)
        named = Annotated[make, tyro.conf.arg(name=prefix.rstrip("."))]
        fields.append((name, named if prefix else tyro.conf.OmitArgPrefixes[make]))
        flags += [option.flag(prefix) for option in options if option.kind is not POSITIONAL]
        flags += [option.flag(prefix + "no-") for option in options if option.kind is bool]
    make = dataclasses.make_dataclass("options", fields)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            given, rest = tyro.cli(
                make, prog=prog, description=description, args=argv, return_unknown_args=True
            )
    except SystemExit as ending:
        if ending.code:
            raise UsageError(message_in_box(stderr.getvalue())) from None
        raise HelpShown(0) from None
    unknown = [argument.partition("=")[0] for argument in rest if argument.startswith("--")]
    if unknown:
        raise UsageError(f"there is no option {unknown[0]}{suggest(unknown[0], flags)}")
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: see {prog} --help")
    return {name: vars(getattr(given, name)) for name in groups}


def make_record(name: str, options: Sequence[Option]) -> Any:
    """A dataclass with a field for each option, as tyro takes them."""
    return dataclasses.make_dataclass(name, map(_field, options), kw_only=True)


def _field(option: Option) -> tuple[str, Any, Any]:
    """An option as a field of a dataclass."""
    hint = f"(default: {option.shown})" if option.shown else None
    metavar = f"[{option.name.upper()} ...]" if option.kind is POSITIONAL else _metavar(option.kind)
    argument = tyro.conf.arg(help=option.help, help_behavior_hint=hint, metavar=metavar)
    kind = Annotated[option.kind, argument]
    default = dataclasses.MISSING if option.default is REQUIRED else option.default
    return option.name, kind, dataclasses.field(default=default)


def _metavar(kind: Any) -> str | None:
    """`INT` for a number that may be left open, which tyro would call `{None}|INT`."""
    parts = set(typing.get_args(kind)) - {type(None)}
    part = parts.pop() if len(parts) == 1 and typing.get_origin(kind) is not tuple else None
    return part.__name__.upper() if part in (int, float, str) else None
