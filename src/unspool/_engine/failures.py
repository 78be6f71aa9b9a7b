"""Rows that fail on the host: counted, told of, and kept from costing the other rows."""

import collections
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .returned import MisuseError

_MOST_FAILURES = 10


class Failures:
    """Number of rows that have failed, and the tracebacks of the last few."""

    def __init__(self):
        self.count = 0
        self.texts: collections.deque[str] = collections.deque(maxlen=_MOST_FAILURES)

    def add(self, text: str) -> None:
        self.extend(1, [text])

    def extend(self, count: int, texts: Iterable[str]) -> None:
        """Adds failures of which not all need a text."""
        self.count += count
        self.texts.extend(texts)

    def take(self) -> tuple[int, list[str]]:
        """All there are, which are then gone from here."""
        taken = self.count, list(self.texts)
        self.count = 0
        self.texts.clear()
        return taken


def attempt(
    call: Callable[[slice], Any], rows: np.ndarray, failures: Failures
) -> tuple[np.ndarray, list[Any]]:
    """The rows for which a call of the user's succeeds, and what it returns, piece by piece.

    `call` is given the places among `rows` that it is to be made for: all of them, or, where it
    raises an exception for all together, one after the other.
    """
    try:
        return rows, [call(slice(None))]
    except MisuseError:
        raise
    except Exception:
        if rows.size == 1:
            failures.add(traceback.format_exc())
            return rows[:0], []
    done, made = [], []
    for place in range(rows.size):
        try:
            made.append(call(slice(place, place + 1)))
            done.append(place)
        except MisuseError:
            raise
        except Exception:
            failures.add(traceback.format_exc())
    return rows[np.array(done, int)], made
