"""Constructors as options: types and defaults from the signature, help from the docstring.

tyro parses them; its errors become one sentence.
"""

import contextlib
import dataclasses
import inspect
import io
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import tyro

from .docs import argument_docs
from .errors import UsageError, message_in_box, suggest

POSITIONAL = tyro.conf.Positional[tuple[str, ...]]
"""The kind of positional arguments."""
REQUIRED = inspect.Parameter.empty
_SCALARS = (bool, int, float, str)


@dataclasses.dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    - `kind`: its type, which tyro parses.
    - `default`: its value if it is not given; `REQUIRED` if it must be.
    - `shown`: the default as text, where it depends on something.
    """

    name: str
    kind: Any
    default: Any
    help: str
    shown: str | None = None

    def flag(self, prefix: str) -> str:
        return f"--{prefix}{self.name.replace('_', '-')}"


def find_options(
    constructor: Callable[..., Any], defaults: Mapping[str, Any] | None = None
) -> list[Option]:
    """The arguments of a class that fit on a command line: numbers, strings, and tuples of them.

    `defaults` has defaults for arguments that have none of their own.
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
            default = (defaults or {}).get(name, REQUIRED)
        default = tuple(default) if isinstance(default, list) else default
        kind = _supported_part(parameter.annotation) or _type_of(default)
        if kind is not None:
            kind = kind | None if default is None else kind
            options.append(Option(name, kind, default, docs.get(name, "")))
    return options


def missing_arguments(constructor: Callable[..., Any], options: Sequence[Option]) -> list[str]:
    """Arguments that have to be given and are not among the options."""
    needed = {k for k, v in _signature(constructor).items() if v.default is REQUIRED}
    return sorted(needed - {option.name for option in options})


def parse(
    argv: Sequence[str], *, prog: str, description: str, **groups: Sequence[Option]
) -> dict[str, dict[str, Any]]:
    """A value for every option of every group; those of `problem` are typed `--problem.NAME`.

    **Raises:** `UsageError`; `SystemExit` after the help that `--help` prints.
    """
    fields, flags = [], ["--help"]
    for name, options in groups.items():
        prefix = "problem." if name == "problem" else ""
        make = dataclasses.make_dataclass(name, map(_field, options), kw_only=True)
        fields.append((name, make if prefix else tyro.conf.OmitArgPrefixes[make]))
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
        raise
    unknown = [argument.partition("=")[0] for argument in rest if argument.startswith("--")]
    if unknown:
        raise UsageError(f"there is no option {unknown[0]}{suggest(unknown[0], flags)}")
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: see {prog} --help")
    return {name: vars(getattr(given, name)) for name in groups}


def to_argv(options: Sequence[Option], values: dict[str, Any], prefix: str = "") -> list[str]:
    """The command line that gives these values."""
    argv = []
    for option in options:
        value = values[option.name]
        if option.kind is bool:
            argv.append(option.flag(prefix if value else prefix + "no-"))
        elif isinstance(value, tuple):
            argv += [option.flag(prefix), *map(str, value)]
        elif value is not None or option.default is not None:
            # Joined, so that a text may begin with a dash.
            argv.append(f"{option.flag(prefix)}={value}")
    return argv


def format_value(value: Any) -> str:
    """A default as it would be typed."""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _field(option: Option) -> tuple[str, Any, Any]:
    """An option as a field of a dataclass."""
    hint = f"(default: {option.shown})" if option.shown else None
    metavar = f"[{option.name.upper()} ...]" if option.kind is POSITIONAL else None
    argument = tyro.conf.arg(help=option.help, help_behavior_hint=hint, metavar=metavar)
    kind = Annotated[option.kind, argument]
    default = dataclasses.MISSING if option.default is REQUIRED else option.default
    return option.name, kind, dataclasses.field(default=default)


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


def _supported_part(kind: Any) -> Any:
    """A number, a string, a choice, or a tuple of them; of a union those of its parts that are.

    `None` if there is no such part.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        known = [part for part in parts if part is type(None) or _supported_part(part)]
        return typing.Union[tuple(known)] if set(known) - {type(None)} else None  # noqa: UP007
    is_plain = kind in _SCALARS or origin is typing.Literal
    is_plain = is_plain or (origin is tuple and all(part in (*_SCALARS, ...) for part in parts))
    return kind if is_plain else None


def _type_of(value: Any) -> Any:
    """The type that a default tells, if it fits on a command line."""
    if not isinstance(value, tuple):
        return type(value) if type(value) in _SCALARS else None
    kinds = {type(item) for item in value}
    kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else None
    return tuple[kind, ...] if kind in _SCALARS else None
