"""Numbers and settings as loggers take them: a flat table."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .._updates import Record
from ..records import EvaluationLine

_NO_CURVES = "update", "result", "params", "state"

Plain = bool | int | float | str


def record_values(record: Record) -> dict[str, float]:
    """The numbers of a record by the names that they have in `metrics.jsonl`.

    Those that are not finite are left out, as they are `null` there.
    """
    named = record._asdict()
    return _finite({name: named[name] for name in named if name not in _NO_CURVES})


def evaluation_values(line: EvaluationLine) -> dict[str, float]:
    """The numbers of an evaluation, as `evaluation/loss`; those that are not known are left out."""
    named = msgspec.structs.asdict(line)
    del named["update"]
    return _finite({f"evaluation/{name}": value for name, value in named.items()})


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Plain]:
    """The settings of a run as a flat table: `estimator`, `estimator.sigma` and the like.

    Of a run that was made of settings they are those, with every option, and the machine.
    """
    about = {name: config[name] for name in ("unspool", "environment") if name in config}
    return dict(_flatten("", {**config["settings"], **about} if "settings" in config else config))


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Plain]]:
    if isinstance(value, Mapping):
        if set(value) == {"name", "options"} and name:
            yield name, value["name"].rpartition(":")[2]
            value = value["options"]
        for key, item in value.items():
            yield from _flatten(f"{name}.{key}" if name else key, item)
    elif isinstance(value, bool | int | float | str):
        yield name, value
    elif value is not None:
        yield name, json.dumps(value, default=str)
