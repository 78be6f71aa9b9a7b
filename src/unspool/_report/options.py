"""The options of problems, estimators and optimizers as text."""

import json
import math
from typing import Any

from .._statistics.intervals import format_number

MAX_LIST_LENGTH = 6
MAX_DEPTH = 1


def format_value(value: Any, depth: int = 1) -> str:
    """One value; of a long list only its ends and its length, of a deep one only its name."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return format_number(value, digits=12)
    if isinstance(value, list) and len(value) > MAX_LIST_LENGTH:
        first, second, last = (format_value(value[index], depth) for index in (0, 1, -1))
        return f"[{first}, {second}, …, {last}] ({len(value)} values)"
    if isinstance(value, list):
        return f"[{', '.join(format_value(item, depth) for item in value)}]"
    if isinstance(value, dict) and set(value) == {"name", "options"}:
        options = format_options(value["options"], depth + 1) if depth <= MAX_DEPTH else ""
        return f"{value['name']} ({options})" if options else str(value["name"])
    if isinstance(value, dict):
        return f"{{{format_options(value, depth)}}}"
    return json.dumps(value, ensure_ascii=False)


def format_options(options: dict[str, Any], depth: int = 1) -> str:
    """All options, each by its name."""
    return ", ".join(f"{name} {format_value(value, depth)}" for name, value in options.items())
