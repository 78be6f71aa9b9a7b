"""Errors of settings, and notes that say what was done when one was raised."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator

NOTE = "unspool: "
"""The beginning of this library's notes."""


class ConfigError(ValueError):
    """Settings from which nothing can be built; the message names the value and legal ones."""


def suggest(word: str, legal: Iterable[str]) -> str:
    """`; did you mean X?` for a near miss, else all legal names."""
    folded = {name.casefold(): name for name in legal}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.55)
    there = ", ".join(folded.values())
    return f"; did you mean {folded[close[0]]}?" if close else f"; there are: {there}"


@contextlib.contextmanager
def noting(doing: str) -> Iterator[None]:
    """Adds to an error what was done when it was raised, such as "while importing mine.py"."""
    try:
        yield
    except (Exception, SystemExit) as error:
        error.add_note(NOTE + doing)
        raise


def noted(error: BaseException) -> str | None:
    """The note of what was done first when an error was raised, or `None`."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(NOTE)]
    return notes[0].removeprefix(NOTE) if notes else None
