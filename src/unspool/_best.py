"""The parameters of a run's best evaluation, kept as files beside its checkpoints."""

import math
from collections.abc import Sequence
from pathlib import Path

from ._checkpoint import load_checkpoint, save_checkpoint
from ._custom_types import Params
from ._params import join, split
from .records import EvaluationLine


def find_best(lines: Sequence[EvaluationLine]) -> EvaluationLine | None:
    """The evaluation of the lowest loss, the first of several; `None` if none is finite."""
    losses = [math.inf if line.loss is None else line.loss for line in lines]
    finite = [place for place, loss in enumerate(losses) if math.isfinite(loss)]
    return lines[min(finite, key=losses.__getitem__)] if finite else None


def save_if_best(folder: Path, lines: Sequence[EvaluationLine], params: Params) -> None:
    """Saves the trained parameters of the last of these evaluations, if it is the best of them."""
    best = find_best(lines)
    if best is not None and best is lines[-1]:
        folder.mkdir(exist_ok=True)
        save_checkpoint(_file(folder, best.update), split(params)[0])


def load_best(folder: Path, update: int, like: Params) -> Params:
    """The parameters that were saved at an update, in a tree of this structure.

    **Raises:** `CheckpointError` if there are none, or they are of another structure.
    """
    trained, fixed = split(like)
    return join(load_checkpoint(_file(folder, update), trained), fixed)


def forget_best(folder: Path, lines: Sequence[EvaluationLine], checkpoint: int) -> None:
    """Deletes all that is not the best of these evaluations.

    The best up to the checkpoint stays: a run that is killed goes on from there.
    """
    safe = [line for line in lines if line.update <= checkpoint]
    kept = {best.update for best in (find_best(lines), find_best(safe)) if best is not None}
    for file in folder.glob("*.npz"):
        if file.stem.isdigit() and int(file.stem) not in kept:
            file.unlink()


def _file(folder: Path, update: int) -> Path:
    return folder / f"{update}.npz"
