"""The options of problems, estimators and optimizers in words."""

import json
import math
from typing import Any

from .intervals import number_words

LONGEST_LIST = 6
DEEPEST = 1


def value_words(value: Any, depth: int = 1) -> str:
    """One value; of a long list only its ends and its length, of a deep one only its name."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return number_words(value, digits=12)
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        first, second, last = (value_words(value[index], depth) for index in (0, 1, -1))
        return f"[{first}, {second}, …, {last}] ({len(value)} values)"
    if isinstance(value, list):
        return f"[{', '.join(value_words(item, depth) for item in value)}]"
    if isinstance(value, dict) and set(value) == {"name", "options"}:
        options = options_words(value["options"], depth + 1) if depth <= DEEPEST else ""
        return f"{value['name']} ({options})" if options else str(value["name"])
    if isinstance(value, dict):
        return f"{{{options_words(value, depth)}}}"
    return json.dumps(value, ensure_ascii=False)


def options_words(options: dict[str, Any], depth: int = 1) -> str:
    """All options, each by its name."""
    return ", ".join(f"{name} {value_words(value, depth)}" for name, value in options.items())
