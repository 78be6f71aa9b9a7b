"""JSON files of records, written and checked by msgspec; an error is one sentence."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import inspect

FORMAT = 1
"""The format of all files but `config.json`; one of a newer version has a higher number."""

Numbers = Sequence[float | None]
"""Numbers, with `None` for those that are not finite, which JSON cannot hold."""

R = TypeVar("R")

_WORDS = {
    inspect.BoolType: "true or false",
    inspect.DictType: "a JSON object",
    inspect.FloatType: "a number",
    inspect.IntType: "a whole number",
    inspect.ListType: "a list",
    inspect.StrType: "a text",
    inspect.StructType: "a JSON object",
    inspect.VarTupleType: "a list",
}


class RunError(ValueError):
    """A directory of runs cannot be used as asked; what it holds is left as it was."""


def inside(directory: Path, name: str) -> Path:
    """The path of a file or folder in a directory.

    **Raises:** `RunError` for one that lies elsewhere: behind a link, `..` or an absolute path.
    """
    path = directory / name
    try:
        is_inside = path.resolve().is_relative_to(directory.resolve()) and not path.is_symlink()
    except (OSError, RuntimeError, ValueError):
        is_inside = False
    if not is_inside or Path(name).is_absolute() or ".." in Path(name).parts:
        raise RunError(
            f"{path} leads out of {directory}, from which alone files are read; put a copy there."
        )
    return path


def without_place(name: str) -> str:
    """`file.py:NAME` without the directory that the file is in; other texts as they are."""
    return re.sub(r"^.*[/\\](?=[^/\\]*\.py(:|$))", "", name)


def read_object(path: Path, newest: int = FORMAT) -> dict[str, Any]:
    """The JSON object in a file that says which format it has, up to the newest one."""
    values = _parse(path, newest)
    _convert(str(path), values, _Header)
    return values


def read_record(path: Path, kind: type[R], newest: int = FORMAT) -> R:
    """The record of that kind in a file of the newest format, or an older one."""
    return _convert(str(path), _parse(path, newest), kind)


def read_lines(path: Path, kind: type[R]) -> list[R]:
    """The records in a file of one per line; a last line without its end is left out."""
    *lines, _ = _read(path).split("\n")
    places = ((f"{path}, line {n}", line) for n, line in enumerate(lines, start=1))
    return [_convert(where, _loads(where, line), kind) for where, line in places if line.strip()]


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Writes a file of one record, whole or not at all."""
    write_text(path, _line(record))


def write_lines(path: Path, records: Iterable[msgspec.Struct]) -> None:
    """Writes a file of one record per line, whole or not at all."""
    write_text(path, "".join(map(_line, records)))


def append_line(path: Path, record: msgspec.Struct) -> None:
    """Adds a record to a file of one per line, in the place of a last line without its end."""
    with open(path, "ab+") as file:
        file.seek(max(0, file.tell() - 1))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(_line(record).encode())


def as_array(numbers: Numbers | Sequence[Numbers]) -> np.ndarray:
    """Numbers as an array, with NaN for `None`."""
    return np.array(numbers, dtype=float)


def plain(value: Any) -> Any:
    """Records and what they hold as they are found when a file is read again."""
    return json.loads(_encode(value))


class _Header(msgspec.Struct):
    format: int


def _line(record: msgspec.Struct) -> str:
    return _encode(record).decode() + "\n"


def _encode(value: Any) -> bytes:
    """The value as JSON, with null for numbers that are not finite."""
    return msgspec.json.encode(value, enc_hook=_without_numpy)


def _without_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _read(path: Path) -> str:
    try:
        inside(path.parent, path.name)
        # Reading a pipe or a device would wait, or never end.
        if path.exists() and not path.is_file():
            raise RunError(f"{path} is no regular file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}).") from None


def _loads(where: str, text: str) -> Any:
    try:
        values = json.loads(text)
        # A lone half of a pair of UTF-16 can be in JSON and in no file of text.
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()
        return values
    except json.JSONDecodeError as error:
        at = f" in line {error.lineno}" if error.lineno > 1 else ""
        raise RunError(f"{where} is not valid JSON ({error.msg}{at}).") from None
    except UnicodeEncodeError:
        raise RunError(f"{where} has half a character in a text.") from None
    except (RecursionError, ValueError) as error:
        raise RunError(f"{where} cannot be read ({error}).") from None


def _parse(path: Path, newest: int) -> Any:
    """The contents of a JSON file, unless a newer version of the library has written it."""
    values = _loads(str(path), _read(path))
    found = values.get("format") if isinstance(values, dict) else None
    if isinstance(found, int) and found > newest:
        raise RunError(
            f"{path} has format {found}, which a newer version of unspool has written; this one "
            f"reads formats up to {newest}."
        )
    return values


def _convert(where: str, values: Any, kind: type[R]) -> R:
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise RunError(f"{where}{describe_mistake(values, kind, error)}.") from None


def describe_mistake(values: Any, kind: Any, error: msgspec.ValidationError) -> str:
    """The mistake and its place, to come after the name of a file: `: 'seed' is "a", but must ...`.

    msgspec says where by a path such as `$.charts[0].title`.
    """
    found = re.fullmatch(r"(?s)(.*?)(?: - at (?:`key` in )?`\$(.*?)(?:\[\.{3}\].*)?`)?", str(error))
    assert found is not None
    steps = [name or int(at) for name, at in re.findall(r"\.(\w+)|\[(\d+)\]", found[2] or "")]
    if error.__cause__ is not None:
        return f"{_place(steps)}: {error.__cause__}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", found[1]):
        steps.append(missing[1])
        return f"{_place(steps)} is missing; it must be {_legal(kind, steps)}"
    for step in steps:
        values = values[step]
    verb, must = ("is", "must be") if steps else ("holds", "must hold")
    return f"{_place(steps)} {verb} {abbreviated(values)}, but {must} {_legal(kind, steps)}"


def abbreviated(value: Any) -> str:
    """The value as it would be typed, cut so that it fits into a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _place(steps: list[str | int]) -> str:
    """The way to a value: `: 'charts', entry 1: 'title'`."""
    return "".join(f", entry {s + 1}" if isinstance(s, int) else f": {s!r}" for s in steps)


def _legal(kind: Any, steps: list[str | int]) -> str:
    """The legal values at the end of the way."""
    info: Any = inspect.type_info(kind)
    for step in steps:
        (info,) = filter(None, (_inside(one, step) for one in _either(info)))
    return " or ".join(filter(None, map(_words, _either(info))))


def _words(info: Any) -> str:
    if isinstance(info, inspect.LiteralType):
        return "one of " + ", ".join(json.dumps(value) for value in info.values)
    word = _WORDS.get(type(info), "")
    item = getattr(info, "item_type", getattr(info, "value_type", None))
    of = _WORDS.get(type(_either(item)[0]), "").removeprefix("a ")
    return f"{word} of {of}s" if of else word


def _either(info: Any) -> tuple[Any, ...]:
    """The types that a value may have."""
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def _inside(info: Any, step: str | int) -> Any:
    """The type of what is in a record or a list; `None` in what holds nothing."""
    if isinstance(step, int):
        return getattr(info, "item_type", None)
    fields = {field.encode_name: field.type for field in getattr(info, "fields", ())}
    return fields.get(step)
