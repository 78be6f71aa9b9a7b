"""The settings of training, whatever is trained."""

import dataclasses
import math

from .errors import UsageError
from .options import Option, find_options

_SHOWN_DEFAULTS = {
    "log_every": "a hundredth of all",
    "checkpoint_every": "a fifth of all",
    "evaluate_every": "no further ones",
    "chunk": "all",
    "label": "the estimator's name",
    "directory": "the next free runs/PROBLEM-ESTIMATOR",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of every training.

    **Arguments:**

    - `optimizer`: the optax optimizer that takes the steps; `unspool train --help` lists them.
    - `learning_rate`: its step size, above 0.
    - `num_updates`: updates to make in all, at least 1.
    - `seed`: the one source of randomness, from 0 to 4294967295.
    - `log_every`: updates between records.
    - `checkpoint_every`: updates between checkpoints, at the next record.
    - `num_episodes`: fresh episodes that the parameters are evaluated on at the start and at the
      end, without perturbation; 0 for no evaluation.
    - `evaluate_every`: updates between further evaluations, at the next record.
    - `chunk`: workers that run at once; fewer need less memory.
    - `float64`: compute in double precision.
    - `label`: what reports call the run; they pool runs of one label.
    - `directory`: where the run is written.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-2
    num_updates: int = 1000
    seed: int = 0
    log_every: int | None = None
    checkpoint_every: int | None = None
    num_episodes: int = 100
    evaluate_every: int | None = None
    chunk: int | None = None
    float64: bool = False
    label: str | None = None
    directory: str | None = None

    def __post_init__(self):
        for name in ("num_updates", "log_every", "checkpoint_every", "evaluate_every", "chunk"):
            _check(name, getattr(self, name), 1)
        _check("num_episodes", self.num_episodes, 0)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(
                f"--learning-rate must be a finite number above 0, got {self.learning_rate}"
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed must be from 0 to {2**32 - 1}, got {self.seed}")

    def with_defaults(self) -> "Settings":
        """The settings with defaults for intervals that were left open."""
        return dataclasses.replace(
            self,
            log_every=self.log_every or max(1, self.num_updates // 100),
            checkpoint_every=self.checkpoint_every or max(1, self.num_updates // 5),
        )


def training_options() -> list[Option]:
    """The options of every training."""
    options = find_options(Settings)
    return [
        dataclasses.replace(option, shown=_SHOWN_DEFAULTS.get(option.name)) for option in options
    ]


def _check(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        flag = f"--{name.replace('_', '-')}"
        raise UsageError(f"{flag} must be an integer of at least {least}, got {value}")
