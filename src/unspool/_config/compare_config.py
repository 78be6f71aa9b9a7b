"""The settings of a comparison as data: several estimators, learning rates and seeds."""

import re

from .._counts import as_count
from .errors import ConfigError
from .train_config import AbstractConfig, Spec, check_numbers, check_positive

FIRST_SELECTION_SEED = 10**9
"""Learning rates are chosen with seeds from here on, which no comparison shows."""

_LABEL = re.compile(r"[^\W_][\w .,()=+-]*")


class CompareConfig(AbstractConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a comparison, as `unspool.compare` takes them.

    **Arguments:**

    - `problem`: what is trained.
    - `estimators`: the estimators to compare, each under the label that reports call it. In a file
      each is a table, `[estimators.NRES]`, or a name alone.
    - `optimizer`, `schedule`: as for `TrainConfig`, the same for all.
    - `clip_norm`: the norm that gradients are cut to.
    - `float64`: compute in double precision.
    - `num_episodes`: fresh episodes of an evaluation, 0 for none.
    - `chunk`: workers that run at once.
    - `log`: loggers, as for `TrainConfig`; they get the runs that are shown.
    - `learning_rates`: rates of which each estimator gets the one that is best for it. By default
      there is the optimizer's own alone.
    - `seeds`: seeds that are shown.
    - `first_seed`: the first of them; the others follow.
    - `selection_seeds`: seeds with which learning rates are chosen, if there are several. They
      start at 1000000000, so that none of them is ever shown.
    - `num_updates`: updates of each run.
    - `num_steps`: problem steps of each run, for equal work. Those before the first update are
      included; a run makes as many updates as fit.
    - `seconds`: seconds of training of each run. Compilation and evaluations are left out; a run
      ends at the first record after them. Runs side by side share cores and caches: for figures
      that count, compare in one process (`num_processes=1`).
    - `log_every`: updates between records.
    - `evaluate_every`: updates between evaluations.
    - `patience`, `target_loss`: end a run by its evaluations, as for `TrainConfig`.

    A run ends at the first limit that it reaches. With `None`, there is a record every hundredth of
    all updates and an evaluation every twentieth. Without any limit there are 1000 updates. With
    `seconds` alone there is a record every 10 updates and an evaluation after every twentieth of
    the seconds.

    **Raises:** `ValueError` for a number out of range, and for labels that cannot be told apart as
    names of directories.

    **Example:**

    >>> config = unspool.CompareConfig(
    ...     problem=unspool.Spec("cubic"),
    ...     estimators={"NRES": unspool.Spec("nres"), "PES": unspool.Spec("pes", {"sigma": 0.2})},
    ...     learning_rates=(0.01, 0.1),
    ...     num_steps=100_000,
    ... )
    >>> config.write("comparison.toml")
    >>> unspool.CompareConfig.read("comparison.toml") == config
    True
    """

    estimators: dict[str, Spec]
    learning_rates: tuple[float, ...] = ()
    seeds: int = 5
    first_seed: int = 0
    selection_seeds: int = 3
    num_updates: int | None = None
    num_steps: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "num_updates", "num_steps", "selection_seeds")
        as_count("first_seed", self.first_seed, least=0, most=FIRST_SELECTION_SEED - 1)
        as_count("seeds", self.seeds, most=FIRST_SELECTION_SEED - self.first_seed)
        for rate in self.learning_rates:
            check_positive("learning_rates", rate)
        _check_distinct("learning_rates", [str(rate) for rate in self.learning_rates])
        if not self.estimators:
            raise ConfigError("estimators must name one at least, as {'NRES': Spec('nres')}")
        for label in self.estimators:
            if not _LABEL.fullmatch(label):
                raise ConfigError(
                    f"estimators: a label must be letters, digits, spaces and .,()=+-_, and begin "
                    f"with a letter or digit, got {label!r}"
                )
        # Some file systems take capital letters for small ones.
        folders = [label.replace(" ", "-").casefold() for label in self.estimators]
        _check_distinct("estimators: labels", folders)

    @property
    def seed_values(self) -> range:
        """The seeds that are shown."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def selection_seed_values(self) -> range:
        """The seeds with which learning rates are chosen; none if there is nothing to choose."""
        count = self.selection_seeds if len(self.learning_rates) > 1 else 0
        return range(FIRST_SELECTION_SEED, FIRST_SELECTION_SEED + count)


def _check_distinct(name: str, values: list[str]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ConfigError(f"{name} must differ, got {twice} twice")
