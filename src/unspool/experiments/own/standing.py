"""What a directory holds of the runs that are planned: what is done, goes on, or is in the way."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import msgspec

from ..._config.build import build_training
from ..._config.early_stop import why_to_stop
from ..._config.run import check_files, run_settings
from ..._config.run_records import end_reached
from ..._config.train_config import TrainConfig, relocate, to_data
from ..._run import Run
from ...records.files import plain, write_text
from ...records.run import CONFIG_FILE
from .plan import LIMITS, Planned

EARLIER = "earlier"
"""The folder of runs that are not of the settings as they are now."""

Standing = Literal["new", "open", "done", "other"]


@dataclass(frozen=True)
class Arranged:
    """The state of a directory that holds planned runs and no others.

    - `todo`: the runs that are not done.
    - `finished`: the cost of those that are.
    - `moved`: where runs of other settings are now.
    """

    todo: tuple[Planned, ...]
    finished: int
    moved: tuple[Path, ...]


def arrange(
    planned: Sequence[Planned], directory: Path, start: Path, *, allow_changes: bool
) -> Arranged:
    """Makes room for the planned runs: those of other settings are moved to `earlier`.

    One that lies there with the settings of a planned run comes back.

    **Raises:** `ConfigError` if a file of the user's has changed since a run of the same settings
    began, before anything is moved.
    """
    found = {each.path: find_standing(each, each.path, start) for each in planned}
    for each in planned:
        if found[each.path] in ("open", "done") and not allow_changes:
            check_files(Run.open(each.path), each.fingerprints)
    there = sorted(file.parent for file in directory.glob(f"*/{CONFIG_FILE}"))
    others = [path for path in there if found.get(path, "other") == "other"]
    moved = tuple(_move(path, _free_place(directory, path.name)) for path in others)
    for each in planned:
        if found[each.path] in ("new", "other"):
            found[each.path] = _bring_back(each, directory, start)
    return Arranged(
        todo=tuple(each for each in planned if found[each.path] != "done"),
        finished=sum(each.cost for each in planned if found[each.path] == "done"),
        moved=moved,
    )


def find_standing(planned: Planned, path: Path, start: Path) -> Standing:
    """The standing of the run in a directory: "other" if it has other settings, or went farther."""
    if not (path / CONFIG_FILE).exists():
        return "new"
    run = Run.open(path)
    if not _has_settings(run, planned, start) or _went_beyond(run, planned.config):
        return "other"
    state = run.read_status().state
    is_over = state == "finished" and end_reached(run, planned.config)
    return "done" if is_over or state == "diverged" else "open"


def _has_settings(run: Run, planned: Planned, start: Path) -> bool:
    """True if a run has the settings that are planned, but for those of which it keeps its own."""
    if "settings" not in run.config:
        return False
    config, its_start = run_settings(run)

    def compared(config: TrainConfig, start: Path) -> dict[str, Any]:
        values = plain(to_data(relocate(config, start, run.directory)))
        return {name: value for name, value in values.items() if name not in planned.kept}

    wanted = compared(planned.config, start)
    if compared(config, its_start) == wanted:
        return True
    try:  # It may have been begun when there were fewer options.
        with jax.enable_x64(config.float64):
            return compared(build_training(config, its_start).config, its_start) == wanted
    except Exception:  # Its files may be gone, or be of another time.
        return False


def _went_beyond(run: Run, config: TrainConfig) -> bool:
    """True if a run has gone on after a limit that has become lower since."""
    lines = run.read_metrics()
    late = config.seconds is not None and any(x.seconds >= config.seconds for x in lines[:-1])
    evaluated = run.read_evaluations()
    would_have_stopped = any(why_to_stop(evaluated[:n], config) for n in range(len(evaluated)))
    return late or would_have_stopped or any(x.update > config.num_updates for x in lines[-1:])


def _bring_back(planned: Planned, directory: Path, start: Path) -> Standing:
    """The standing of a planned run, once one like it has come back, if there is one."""
    for path in sorted((directory / EARLIER).glob(f"{planned.path.name}-*")):
        standing = find_standing(planned, path, start)
        if standing in ("open", "done"):
            if Run.open(path).config["fingerprints"] == planned.fingerprints:
                _move(path, planned.path)
                return standing
    return "new"


def _free_place(directory: Path, name: str) -> Path:
    number = 1
    while (directory / EARLIER / f"{name}-{number}").exists():
        number += 1
    return directory / EARLIER / f"{name}-{number}"


def _move(path: Path, target: Path) -> Path:
    """Moves a run, which names its files relative to its directory."""
    config = Run.open(path).config
    if "from" in config:
        config["from"] = os.path.relpath((path / config["from"]).resolve(), target.resolve())
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    write_text(target / CONFIG_FILE, json.dumps(config, indent=1) + "\n")
    return target


def extended(config: TrainConfig, limits: TrainConfig) -> TrainConfig:
    """The settings of a run with the limits that are planned for it now."""
    changed = {name: getattr(limits, name) for name in LIMITS}
    return msgspec.structs.replace(config, **changed)
