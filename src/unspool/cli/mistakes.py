"""What ends a command early, each as one sentence for the one who typed it."""

import contextlib
import difflib
import itertools
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from .._checkpoint import CheckpointError
from .._records import TrainingError
from .._run import RunError

_LIBRARY = str(Path(__file__).parents[1])
_FOREIGN = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})

SAID_IN_ONE_SENTENCE = (CheckpointError, MemoryError, RunError, TrainingError)
"""Errors whose message is fit to be printed as it is."""

_REWORDED = {
    r"^Error parsing (\S+):": r"\1",
    r"^Missing from .+?: (?=--)": "missing: ",
    r"^Missing value for argument '(\S+)'\. Expected 1 values": r"\1 takes one value",
    r"^Missing value for argument '(\S+)'\. Expected (\d+) values": r"\1 takes \2 values",
    r"invalid literal for int\(\) with base 10:": "must be an integer, got",
    r"could not convert string to float:": "must be a number, got",
    r"no type matching (.+) could be instantiated from \[(.*)\]": r"must be \1, got \2",
    r"Could not parse arguments \[(.*)\] into .*\[(.+)\]": r"must be \2, got \1",
}


class Mistake(Exception):
    """What was typed cannot be done; the message names the value and what is legal."""


class Failure(Exception):
    """A run broke down; the message says why and where its directory is."""


def suggest(word: str, legal: Iterable[str]) -> str:
    """`; did you mean X?` for a near miss, else the legal words themselves."""
    folded = {name.casefold(): name for name in legal}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.55)
    there = ", ".join(folded.values())
    return f"; did you mean {folded[close[0]]}?" if close else f"; there are: {there}"


@contextlib.contextmanager
def mistakes_of_the_user(doing: str) -> Iterator[None]:
    """Turns whatever the user's code or settings raise into a `Mistake`.

    An error of the library's own checks is said as it is; one that comes out of the user's code
    with file and line. With `UNSPOOL_TRACEBACK` set in the environment nothing is caught.
    """
    try:
        yield
    except Mistake:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("UNSPOOL_TRACEBACK"):
            raise
        raise Mistake(describe_error(error, doing)) from error


def describe_error(error: BaseException, doing: str) -> str:
    """One line: the library's own sentence, or the place in the user's code and what it said."""
    said = first_line(str(error))
    if isinstance(error, SyntaxError):
        return f"{_shown(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_LIBRARY) or not frame.filename.startswith((*_FOREIGN, "<"))
    ]
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARY)]
    own = (FileNotFoundError, ImportError, ValueError, *SAID_IN_ONE_SENTENCE)
    checked = isinstance(error, own)
    if checked and said and frames and frames[-1] not in users:
        return said
    where = f"{_shown(users[-1].filename)}:{users[-1].lineno}: " if users else ""
    return f"{where}{type(error).__name__} {doing}: {said or 'without a message'}"


def sentence_in(box: str) -> str:
    """What tyro complains of in a box that it drew: below the title, up to a rule or a gap."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]]
    is_text = lambda line: bool(line.strip("─-╰╯"))
    below = itertools.dropwhile(lambda line: not is_text(line), lines)
    said = " ".join(itertools.takewhile(is_text, below)).rstrip(". ")
    for pattern, words in _REWORDED.items():
        said = re.sub(pattern, words, said)
    return said


def first_line(text: str) -> str:
    """The first sentence-like line of a message that may go on for pages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""


def complain(message: str) -> None:
    """The one line on stderr."""
    print(f"unspool: {' '.join(message.split())}", file=sys.stderr)


def _shown(file: str | None) -> str:
    if file is None:
        return "?"
    path = os.path.relpath(file)
    return file if path.startswith("..") else path
