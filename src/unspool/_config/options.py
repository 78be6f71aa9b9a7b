"""The arguments of a constructor as options: types and defaults from the signature."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .docs import argument_docs

REQUIRED = inspect.Parameter.empty
_OBJECT = "name of a class; with it, --help has its options"
_SCALARS = (bool, int, float, str)


@dataclasses.dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    - `kind`: its type, which tyro parses.
    - `default`: its value if it is not given; `REQUIRED` if it must be.
    - `shown`: the default as text, where it depends on something.
    - `metavar`: what a value is called, by default its type.
    - `positional`: a word by its place, and not by a name.
    """

    name: str
    kind: Any
    default: Any
    help: str
    shown: str | None = None
    metavar: str | None = None
    positional: bool = False

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


def find_objects(constructor: Callable[..., Any]) -> list[Option]:
    """The arguments of a class whose defaults are objects, which a name can stand for."""
    return [
        Option(name, str | None, None, _OBJECT, type(parameter.default).__name__)
        for name, parameter in _signature(constructor).items()
        if dataclasses.is_dataclass(parameter.default) and not isinstance(parameter.default, type)
    ]


def missing_arguments(constructor: Callable[..., Any], options: Sequence[Option]) -> list[str]:
    """Arguments that have to be given and are not among the options."""
    needed = {k for k, v in _signature(constructor).items() if v.default is REQUIRED}
    return sorted(needed - {option.name for option in options})


def format_value(value: Any) -> str:
    """A default as it would be typed."""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _signature(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    # A metaclass that takes (*args, **kwargs) hides the signature of the class itself.
    # That of a record of msgspec, on the other hand, is the class's own.
    is_class = isinstance(constructor, type) and not issubclass(constructor, msgspec.Struct)
    function = constructor.__init__ if is_class else constructor
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
        if float in known:  # An integer, or a flag of optax, is typed as a number.
            known = [part for part in known if part not in (bool, int)]
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
