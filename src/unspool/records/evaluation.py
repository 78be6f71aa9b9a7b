"""A line of `evaluation.jsonl`: parameters without perturbation, on fresh episodes."""

from msgspec import Struct


class EvaluationLine(Struct, frozen=True, kw_only=True):
    """The mean loss of some episodes at the parameters of an update.

    `None` stands for a number that is not known or not finite; of the episodes, `dropped` failed.
    """

    update: int
    loss: float | None = None
    standard_error: float | None = None
    num_episodes: int | None = None
    dropped: int | None = None
