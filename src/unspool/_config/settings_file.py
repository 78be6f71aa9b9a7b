"""Files of settings in JSON, TOML or YAML: the ending of the name says which."""

import json
import tomllib
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .extras import needing


def read_settings(path: Path) -> dict[str, Any]:
    """The table in a file."""
    parse = _choose(path, _PARSERS)
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # So are the errors of JSON, TOML and what is no text.
    except ValueError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a table of settings, got {type(values).__name__}")
    return values


def write_settings(path: Path, values: dict[str, Any]) -> None:
    """Writes a table, whole or not at all; TOML leaves out what is `None`, and empty tables."""
    # Late, for the help waits for no NumPy.
    from ..records.files import write_text

    form = _choose(path, _WRITERS)
    if path.suffix == ".toml":
        values = _without_empty(values)
        for name, value in values.items():
            if (lacking := _find_none(value)) is not None:
                raise ConfigError(
                    f"cannot write {path}: {lacking!r} in {name!r} is None, which TOML cannot "
                    "hold: leave it out, or write a file that ends with .json or .yaml"
                )
    text = form(values)
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _choose(path: Path, known: dict[str, Any]) -> Any:
    if path.suffix not in known:
        raise ConfigError(f"{path} must end with .json, .toml, .yaml or .yml")
    return known[path.suffix]


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that are `None`, and without empty tables of options.

    An option that is `None` is a choice, and stays.
    """

    def trim(value: Any, without_none: bool = True) -> Any:
        if not isinstance(value, dict):
            return value
        is_empty = lambda name, item: (
            (name == "options" and item == {}) or (without_none and item is None)
        )
        return {
            name: trim(item, without_none and name != "options")
            for name, item in value.items()
            if not is_empty(name, item)
        }

    return trim(values)


def _find_none(value: Any, name: str = "") -> str | None:
    """The name under which a value holds `None`, if it does."""
    if value is None:
        return name
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = ((name, item) for item in value) if isinstance(value, (list, tuple)) else pairs
    found = (_find_none(item, key) for key, item in pairs)
    return next((name for name in found if name is not None), None)


def _parse_yaml(text: str) -> Any:
    with needing("reading YAML"):
        import yaml
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _form_yaml(values: dict[str, Any]) -> str:
    with needing("writing YAML"):
        import yaml
    return yaml.safe_dump(values, sort_keys=False)


def _form_toml(values: dict[str, Any]) -> str:
    with needing("writing TOML"):
        import tomli_w
    return tomli_w.dumps(values)


def _form_json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1) + "\n"


_PARSERS = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}
_WRITERS = {".json": _form_json, ".toml": _form_toml, ".yaml": _form_yaml, ".yml": _form_yaml}
