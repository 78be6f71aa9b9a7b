"""The evaluations of a run that end it before its limits are reached."""

from collections.abc import Sequence

from .._best import find_best
from ..records import EvaluationLine
from .train_config import AbstractConfig


def why_to_stop(lines: Sequence[EvaluationLine], config: AbstractConfig) -> str:
    """The reason why a run stops after the last of its evaluations; empty if it goes on.

    The evaluation before the first update ends nothing. An evaluation without a loss, of which
    all episodes failed, is none that is better.
    """
    if not lines or lines[-1].update == 0:
        return ""
    last, target, best = lines[-1], config.target_loss, find_best(lines)
    if target is not None and last.loss is not None and last.loss <= target:
        return (
            f"come to an evaluated loss of {last.loss:.6g} at update {last.update}, which is not "
            f"above {target:.6g}: to go on, ask for less with --target-loss (in Python, "
            "target_loss)"
        )
    waited = len(lines) if best is None else len(lines) - 1 - lines.index(best)
    if config.patience is not None and waited >= config.patience:
        since = "" if best is None else f" than that at update {best.update}, {best.loss:.6g}"
        return (
            f"brought no lower loss{since}, in {waited} evaluations up to update {last.update}: to "
            f"go on, ask for more than {config.patience} with --patience (in Python, patience)"
        )
    return ""
