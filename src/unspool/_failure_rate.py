"""When training has to stop because workers fail."""

import collections
import math
from collections.abc import Sequence

import numpy as np

from ._estimator.survival import LEAST_SURVIVAL, Survival

_MOST_DROPPED = 0.5
_CHANCE = 1e-6
_RECORDS = 10
_LEAST_FAILURES = 50


class FailureRate:
    """A test of whether more than half of the workers fail, over the last ten records.

    A record by itself may hold so few workers that chance decides. So training stops if a rate of
    one half would show what was seen with a probability of less than one in a million, by the
    bound of Chernoff (1952); twenty workers in a row, for example.
    """

    def __init__(self):
        self._records: collections.deque[tuple[int, int]] = collections.deque(maxlen=_RECORDS)
        self._any_usable = False

    def add(self, attempted: np.ndarray, failed: np.ndarray, usable: np.ndarray) -> None:
        """A record: workers that ran and that failed, and whether there was an estimate."""
        self._records.append((int(np.sum(attempted)), int(np.sum(failed))))
        self._any_usable = self._any_usable or bool(np.any(usable))

    @property
    def counts(self) -> tuple[int, int]:
        """Workers that ran, and those of them that failed."""
        attempted, failed = zip(*self._records, strict=True)
        return sum(attempted), sum(failed)

    @property
    def is_too_high(self) -> bool:
        attempted, failed = self.counts
        if failed <= _MOST_DROPPED * attempted:
            return False
        return attempted * _divergence(failed / attempted, _MOST_DROPPED) > -math.log(_CHANCE)

    @property
    def left_nothing(self) -> bool:
        """True if not a single update could be made."""
        return not self._any_usable


def survive_too_rarely(survivals: Sequence[Survival]) -> bool:
    """True if so few episodes get to their end that weights cannot make up for the others.

    Twice the standard error of the failures counted is allowed for.
    """
    return any(map(_survives_too_rarely, survivals))


def none_has_come_through(survival: Survival, num_workers: int) -> bool:
    """True if all episodes have failed, and as many as there are workers, before their end."""
    attempted, failed = np.asarray(survival.attempted), np.asarray(survival.failed)
    is_long, last = attempted.size > 1, attempted[-1] - failed[-1]
    return bool(is_long and last < 1 and np.sum(failed) >= num_workers)


def _survives_too_rarely(survival: Survival) -> bool:
    failures = float(np.sum(np.asarray(survival.failed)))
    if survival.attempted.size == 1 or failures < _LEAST_FAILURES:
        return False
    hazard = -float(np.sum(np.log1p(-np.minimum(np.asarray(survival.rate), 1 - 1e-6))))
    return hazard * (1 - 2 / math.sqrt(failures)) > -math.log(LEAST_SURVIVAL)


def _divergence(p: float, q: float) -> float:
    """Kullback and Leibler's, of a coin of probability p from one of q."""
    term = lambda x, y: x * math.log(x / y) if x > 0 else 0.0
    return term(p, q) + term(1 - p, 1 - q)
