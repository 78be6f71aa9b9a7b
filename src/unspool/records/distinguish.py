"""Labels that grow by what differs, so that only runs of the same settings share one."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from .config import Config
from .files import abbreviated, without_place
from .run import LoggedRun

Flat = dict[tuple[str, ...], Any]

_PARTS = "problem", "estimator", "optimizer", "num_updates", "experiment"
# What names a run, and what only says how often it is written down and how much runs at once.
_NO_SETTINGS = ("seed", "label", "log_every", "checkpoint_every", "evaluate_every", "chunk")
_MISSING = object()


def distinguish(runs: Sequence[LoggedRun]) -> tuple[LoggedRun, ...]:
    """The runs with labels that no two runs of unlike settings share: `NRES, learning_rate 0.1`.

    Seeds, directories, the places of files, and how often a run is logged, saved and evaluated are
    no settings. Of several runs with the same seed and settings the one that went farthest is
    left, for the others are no further seed.
    """
    chosen: dict[tuple[str, int], LoggedRun] = {}
    owners: dict[str, str] = {}
    for label in dict.fromkeys(run.config.label for run in runs):
        own = [run for run in runs if run.config.label == label]
        for run, grown in zip(own, _grow(label, [run.config for run in own]), strict=True):
            while owners.setdefault(grown, label) != label:  # Somebody gave another run that label.
                grown += " (2)"
            named = replace(run, config=msgspec.structs.replace(run.config, label=grown))
            other = chosen.get((grown, run.config.seed))
            if other is None or other.metrics.update[-1] < run.metrics.update[-1]:
                chosen[grown, run.config.seed] = named
    return tuple(chosen.values())


def _grow(label: str, configs: Sequence[Config]) -> list[str]:
    """The label of each run, with what it has apart from others of this label."""
    as_data = all(config.settings is not None for config in configs)
    settings = [_flat(_settings(config, as_data=as_data)) for config in configs]
    texts = [{key: _canonical(value) for key, value in each.items()} for each in settings]
    keys = list(dict.fromkeys(key for each in texts for key in each))
    differing = [key for key in keys if len({each.get(key) for each in texts}) > 1]
    groups = [tuple(each.get(key) for key in differing) for each in texts]
    labels = [", ".join([label, *_words(each, differing, settings)]) for each in settings]
    return _numbered(labels, groups)


def _numbered(labels: list[str], groups: Sequence[tuple[Any, ...]]) -> list[str]:
    """The labels, with a number where unlike runs would still share one."""
    kinds: dict[str, list[tuple[Any, ...]]] = {}
    for label, group in zip(labels, groups, strict=True):
        if group not in (found := kinds.setdefault(label, [])):
            found.append(group)
    return [
        f"{label} ({kinds[label].index(group) + 1})" if len(kinds[label]) > 1 else label
        for label, group in zip(labels, groups, strict=True)
    ]


def _settings(config: Config, *, as_data: bool) -> dict[str, Any]:
    """What was trained and how: as it was asked for, or as older files describe it."""
    if as_data:
        assert config.settings is not None
        digests = config.fingerprints or {}
        files = {without_place(source): digest for source, digest in digests.items()}
        return {k: v for k, v in config.settings.items() if k not in _NO_SETTINGS} | files
    return msgspec.to_builtins({part: getattr(config, part) for part in _PARTS})


def _flat(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Flat:
    """The values of nested tables by the way to each."""
    found: Flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, (*path, str(name)))
        elif value is not None:
            found[*path, str(name)] = without_place(value) if isinstance(value, str) else value
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _words(own: Flat, differing: Iterable[tuple[str, ...]], settings: Sequence[Flat]) -> list[str]:
    """What one run has apart from others, in words."""
    names = {key[:-1] for key in differing if key[-1] == "name"}
    words = []
    for key in differing:
        *parents, name = [step for step in key if step != "options"]
        is_everywhere = all(key in each for each in settings)
        is_option = any(key[: len(n)] == n and key != (*n, "name") for n in names)
        if is_option and not is_everywhere:
            continue  # One class has it and the other has not, and their names are words already.
        value = own.get(key, _MISSING)
        same_name = [k for k in differing if k[-1] == name and k != key]
        if name == "name" and parents:
            name = parents[-1]
            # What an estimator is not given it has by default; an optimizer has no schedule then.
            missing = f"usual {name}" if parents[0] == "estimator" else f"no {name}"
            words.append(missing if value is _MISSING else str(value).rpartition(":")[2])
            continue
        words.append(_word(f"{parents[-1]} {name}" if same_name and parents else name, value))
    return words


def _word(name: str, value: Any) -> str:
    if value is _MISSING:
        return f"no {name}"
    if name.endswith(".py"):
        return f"{name} of digest {str(value)[:7]}"
    if isinstance(value, float):
        return f"{name} {value:.12g}"
    return f"{name} {value if isinstance(value, str) else abbreviated(value)}"
