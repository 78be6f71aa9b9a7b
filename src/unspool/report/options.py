"""The options of problems, estimators and optimizers in words."""

import json
import math
from typing import Any

from .intervals import number_words

LONGEST_LIST = 6


def value_words(value: Any) -> str:
    """One value; of a long list only its ends and its length."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return number_words(value, digits=12)
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        first, second, last = (value_words(value[index]) for index in (0, 1, -1))
        return f"[{first}, {second}, …, {last}] ({len(value)} values)"
    if isinstance(value, list):
        return f"[{', '.join(value_words(item) for item in value)}]"
    if isinstance(value, dict) and set(value) == {"name", "options"}:
        options = options_words(value["options"])
        return f"{value['name']} ({options})" if options else str(value["name"])
    if isinstance(value, dict):
        return f"{{{options_words(value)}}}"
    return json.dumps(value, ensure_ascii=False)


def options_words(options: dict[str, Any]) -> str:
    """All options, each by its name."""
    return ", ".join(f"{name} {value_words(value)}" for name, value in options.items())
