"""The schema of JSON files: values are checked as they are read, and errors name legal ones."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


class ReportError(ValueError):
    """A file of a report cannot be read or written; the message is one sentence."""


def abbreviated(value: Any) -> str:
    """The value as it would be typed, cut so that it fits into a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportError(f"{path} is missing.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} cannot be read ({error}).") from None


def read_object(path: Path) -> "JsonObject":
    """The JSON object in a file, whose `format` must be one this version knows."""
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ReportError(
            f"{path} is not valid JSON ({error.msg} in line {error.lineno})."
        ) from None
    return JsonObject(str(path), values)


def read_lines(path: Path) -> list["JsonObject"]:
    """The JSON objects in a file of one per line; a last line cut off while writing is left out."""
    text = read_text(path)
    lines = text.split("\n")
    objects = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ReportError(f"{where} is not valid JSON ({error.msg}).") from None
        objects.append(JsonObject(where, values))
    return objects


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class JsonObject:
    """The fields of one JSON object, checked as they are read.

    `where` names the object in messages. In the reading methods `default=None` means that the
    value must be there.
    """

    def __init__(self, where: str, values: Any):
        if not isinstance(values, dict):
            raise ReportError(f"{where} holds {abbreviated(values)}, but must hold a JSON object.")
        self.where = where
        self._values = values

    def has(self, name: str) -> bool:
        """True if the value is there and not null."""
        return self._values.get(name) is not None

    def error(self, name: str, legal: str) -> ReportError:
        if name not in self._values:
            return ReportError(f"{self.where}: {name!r} is missing; it must be {legal}.")
        value = abbreviated(self._values[name])
        return ReportError(f"{self.where}: {name!r} is {value}, but must be {legal}.")

    def check_format(self, *known: int) -> None:
        if self._values.get("format") not in known:
            legal = " or ".join(map(str, known))
            raise self.error("format", f"{legal}, the format that this version reads")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise self.error(name, "a text")
        return value

    def choice(self, name: str, legal: tuple[str, ...], default: str | None = None) -> str:
        value = self._values.get(name, default)
        if value not in legal:
            raise self.error(name, "one of " + ", ".join(json.dumps(word) for word in legal))
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._values.get(name, default)
        if not _is_number(value) or not math.isfinite(value) or value != int(value):
            raise self.error(name, "a whole number")
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        value = self._values.get(name, default)
        if not _is_number(value) or math.isnan(value):
            raise self.error(name, "a number")
        return float(value)

    def number_or_nan(self, name: str) -> float:
        """A number; NaN where the value is missing or null."""
        return self.number(name) if self.has(name) else math.nan

    def numbers(self, name: str, default: tuple[float, ...] | None = None) -> np.ndarray:
        """A list of numbers as an array, with null as NaN."""
        value = self._values.get(name, default)
        if not isinstance(value, list | tuple) or not all(
            item is None or _is_number(item) for item in value
        ):
            raise self.error(name, "a list of numbers")
        return np.array([math.nan if item is None else item for item in value], dtype=float)

    def table(self, name: str, num_rows: int, num_columns: int) -> np.ndarray:
        """A list of rows of numbers as an array, with null as NaN."""
        legal = f"{num_rows} rows of {num_columns} numbers"
        rows = self._values.get(name)
        if not isinstance(rows, list) or len(rows) != num_rows:
            raise self.error(name, legal)
        table = np.empty((num_rows, num_columns))
        for index, row in enumerate(rows):
            numbers = JsonObject(self.where, {name: row}).numbers(name)
            if len(numbers) != num_columns:
                raise self.error(name, legal)
            table[index] = numbers
        return table

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts; None where it is missing or null."""
        if not self.has(name):
            return None
        value = self._values[name]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(name, "a list of texts or null")
        return tuple(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object as it is; empty where it is missing or null."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.error(name, "a JSON object")
        return dict(value or {})

    def object(self, name: str) -> "JsonObject":
        if not isinstance(self._values.get(name), dict):
            raise self.error(name, "a JSON object")
        return JsonObject(f"{self.where}: {name!r}", self._values[name])

    def objects(self, name: str) -> list["JsonObject"]:
        """A list of JSON objects; empty where it is missing or null."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, list):
            raise self.error(name, "a list of JSON objects")
        return [
            JsonObject(f"{self.where}: {name!r}, entry {index}", item)
            for index, item in enumerate(value or [], start=1)
        ]
