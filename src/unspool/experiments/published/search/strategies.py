"""Ways to choose what to try next, by Optuna, which is imported when a search begins."""

import abc
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna


class AbstractStrategy(abc.ABC):
    """The strategy of a search: how trials are chosen, and when they are given up."""

    @abc.abstractmethod
    def make_study(self, seed: int, horizon: int) -> "optuna.Study":
        """A new study that minimizes, whose choices all follow from the seed."""

    @abc.abstractmethod
    def stops(self, horizon: int) -> tuple[int, ...]:
        """The steps after which a trial may be given up; the last is its end."""


@dataclass(frozen=True)
class RandomSearch(AbstractStrategy):
    """Every trial is drawn uniformly from the box."""

    def make_study(self, seed, horizon):
        import optuna

        return _study(optuna.samplers.RandomSampler(seed), optuna.pruners.NopPruner(), seed)

    def stops(self, horizon):
        return (horizon,)


@dataclass(frozen=True)
class TPE(AbstractStrategy):
    """Trials are drawn from where good ones have been frequent: tree-structured Parzen estimators.

    With one density for all parameters together, Optuna's default since version 5.
    """

    def make_study(self, seed, horizon):
        import optuna

        with warnings.catch_warnings():
            # It was experimental up to version 4.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(multivariate=True, seed=seed)
        return _study(sampler, optuna.pruners.NopPruner(), seed)

    def stops(self, horizon):
        return (horizon,)


@dataclass(frozen=True)
class Hyperband(AbstractStrategy):
    """Trials are drawn uniformly, and most of them given up early: successive halving in brackets.

    They are those of `RandomSearch` with the same seed, and more.

    **Arguments:**

    - `reduction`: of so many trials one goes on, for so many times its steps.
    - `num_rungs`: how many such numbers of steps there are; as many brackets share the trials.
    """

    reduction: int = 3
    num_rungs: int = 3

    def make_study(self, seed, horizon):
        import optuna

        shortest = self.stops(horizon)[0]
        pruner = optuna.pruners.HyperbandPruner(shortest, horizon, self.reduction)
        return _study(optuna.samplers.RandomSampler(seed), pruner, seed)

    def stops(self, horizon):
        shares = (self.reduction**power for power in reversed(range(self.num_rungs)))
        return tuple(sorted({max(1, horizon // share) for share in shares}))


def _study(
    sampler: "optuna.samplers.BaseSampler", pruner: "optuna.pruners.BasePruner", seed: int
) -> "optuna.Study":
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # Brackets follow from the study's name, which would otherwise be drawn anew.
        return optuna.create_study(sampler=sampler, pruner=pruner, study_name=str(seed))
    finally:
        optuna.logging.set_verbosity(verbosity)
