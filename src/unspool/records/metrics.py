"""A line of `metrics.jsonl`: a record of training."""

from msgspec import Struct

from .files import Numbers


class MetricsLine(Struct, frozen=True, kw_only=True):
    """Losses, counts and parameters of the updates since the line before.

    As `unspool.Record`, whose fields these are; `None` stands for a number that is not known or
    not finite. Parameters are flat, and are left out if they are many.
    """

    update: int
    seconds: float
    steps: int
    useful_steps: int = 0
    warmup_steps: int = 0
    sequential_steps: int
    loss: float | None = None
    grad_norm: float | None = None
    update_variance: float | None = None
    episode_variance: float | None = None
    signal_to_noise: float | None = None
    lag: float | None = None
    dropped: int = 0
    sigma: float | None = None
    result: str = "successful"
    params: Numbers | None = None
