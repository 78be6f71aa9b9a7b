"""The first mistake in a command line, as a sentence."""

import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .._config.errors import suggest
from .._config.options import REQUIRED, Option

_SINGLE = {bool: "true or false", float: "a number", int: "an integer"}
_PLURAL = {float: "numbers", int: "integers", str: "values"}


def explain(
    argv: Sequence[str], groups: Sequence[tuple[str, Sequence[Option]]], prog: str
) -> str | None:
    """What is wrong with a command line; `None` if nothing is.

    **Arguments:**

    - `groups`: prefixes, such as `problem.`, and the options that begin with them.
    - `prog`: the command, whose help is named.
    """
    known = dict(_flags(groups))
    positional = [option for _, options in groups for option in options if option.positional]
    words, given = [], set()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            words.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if flag not in known:
            return f"there is no option {flag}{suggest(flag, known)}"
        option, most = known[flag], _most_values(known[flag].kind)
        values = [value] if equals else []
        while not equals and rest and len(values) < most and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        if mistake := _check(flag, option, values):
            return mistake
        given.add(id(option))
    lacking = [(f, o) for f, o in known.items() if o.default is REQUIRED and id(o) not in given]
    if lacking:
        flag, option = lacking[0]
        return f"missing: {flag} {_name_of(option.kind)}, {option.help}".rstrip(", ")
    return _check_words(words, positional, prog)


def _flags(groups: Sequence[tuple[str, Sequence[Option]]]) -> Iterator[tuple[str, Option]]:
    for prefix, options in groups:
        for option in options:
            if option.positional:
                continue
            yield option.flag(prefix), option
            if option.kind is bool:
                yield option.flag(prefix + "no-"), option


def _check_words(words: list[str], positional: Sequence[Option], prog: str) -> str | None:
    count = 0
    for option in positional:
        most = _most_values(option.kind)
        if count >= len(words) and option.default is REQUIRED:
            return f"missing: {option.metavar}, {option.help}; see {prog} --help"
        count = min(len(words), count + most)
    if count < len(words):
        return f"unexpected argument {words[count]!r}: see {prog} --help"
    return None


def _check(flag: str, option: Option, values: list[str]) -> str | None:
    """A sentence if these are no values of an option."""
    kind = _without_none(option.kind)
    items, wanted = typing.get_args(kind), "one value"
    is_tuple = typing.get_origin(kind) is tuple
    if kind is bool:
        return None
    if is_tuple:
        wanted = f"{len(items)} values" if ... not in items else "at least one value"
    if values == ["None"] and type(None) in typing.get_args(option.kind):
        return None
    if len(values) < (len(items) if is_tuple and ... not in items else 1):
        return f"{flag} takes {wanted}"
    try:
        msgspec.convert(values if is_tuple else values[0], kind, strict=False)
    except msgspec.ValidationError:
        return f"{flag} must be {_describe(kind)}, got {', '.join(map(repr, values))}"
    return None


def _describe(kind: Any) -> str:
    items = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Union:
        return " or ".join(map(_describe, items))
    if typing.get_origin(kind) is typing.Literal and len(items) == 1:
        return str(items[0])
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(str, items))}"
    if typing.get_origin(kind) is tuple:
        count = "" if ... in items else f"{len(items)} "
        return count + _PLURAL.get(items[0], "values")
    return _SINGLE.get(kind, str(kind))


def _without_none(kind: Any) -> Any:
    """A type without `None`, and with texts for paths, which any text is."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = tuple(part for part in typing.get_args(kind) if part is not type(None))
        return _without_none(parts[0]) if len(parts) == 1 else typing.Union[parts]  # noqa: UP007
    return str if kind is Path else kind


def _most_values(kind: Any) -> int:
    """The most values that an option takes."""
    if kind is bool:
        return 0
    kind = _without_none(kind)
    if typing.get_origin(kind) is not tuple:
        return 1
    items = typing.get_args(kind)
    return sys.maxsize if ... in items else len(items)


def _name_of(kind: Any) -> str:
    kind = _without_none(kind)
    return kind.__name__.upper() if isinstance(kind, type) else "VALUE"
