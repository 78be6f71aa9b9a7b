"""Errors that end a command early, each reported to the user as one sentence."""

import contextlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from .._config.errors import ConfigError, noted

_LIBRARY = str(Path(__file__).parents[1])
_FOREIGN = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


_EXTRAS = {
    "brax": "brax",
    "gymnasium": "control",
    "matplotlib": "cli",
    "mujoco": "control",
    "PIL": "control",
    "optuna": "experiments",
    "ray": "ray",
    "rich": "cli",
    "safetensors": "export",
    "tyro": "cli",
}


def missing_extra(error: BaseException) -> str | None:
    """The extra of this library that a missing package comes with, if that is what is wrong."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return _EXTRAS.get((name or "").partition(".")[0])


def reportable_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is printed as it is."""
    # Imports JAX, which the help does without.
    from .._checkpoint import CheckpointError
    from .._updates import TrainingError
    from ..records import RunError

    return CheckpointError, MemoryError, RunError, TrainingError


class UsageError(Exception):
    """A wrong command line; the message names the value and legal ones."""


class HelpShown(SystemExit):
    """The help has been printed, and nothing is left to do."""


class RunFailure(Exception):
    """A run failed; the message says why and where its directory is."""


@contextlib.contextmanager
def as_usage_errors(doing: str) -> Iterator[None]:
    """Turns any error that the user's code or settings raise into a `UsageError`.

    An error of the library's own checks keeps its message; one that comes out of the user's code
    gets file and line, and what was done, which is `doing` unless it has been noted. With
    `UNSPOOL_TRACEBACK` set in the environment nothing is caught.
    """
    try:
        yield
    except (UsageError, ConfigError, RunFailure, HelpShown):
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get("UNSPOOL_TRACEBACK") or missing_extra(error):
            raise
        raise UsageError(describe_error(error, noted(error) or doing)) from error


@contextlib.contextmanager
def as_flags(names: Sequence[str]) -> Iterator[None]:
    """Turns errors that begin with a parameter's name into a `UsageError` with its option."""
    try:
        yield
    except (UsageError, ConfigError) as error:
        name, space, text = str(error).partition(" ")
        flag = f"--{name.replace('_', '-')}" if name in names else name
        raise UsageError(f"{flag}{space}{text}") from error


def describe_error(error: BaseException, doing: str) -> str:
    """One line: the library's own message, or the line in the user's code and its error."""
    message = first_line(str(error))
    if isinstance(error, SyntaxError):
        return (
            f"{_display_path(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
        )
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_LIBRARY) or not frame.filename.startswith((*_FOREIGN, "<"))
    ]
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARY)]
    own = (FileNotFoundError, ImportError, ValueError, *reportable_errors())
    checked = isinstance(error, own)
    if checked and message and frames and frames[-1] not in users:
        return message
    where = f"{_display_path(users[-1].filename)}:{users[-1].lineno}: " if users else ""
    return f"{where}{type(error).__name__} {doing}: {message or 'without a message'}"


def first_line(text: str) -> str:
    """The first sentence-like line of a message that may go on for pages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""


def print_error(message: str) -> None:
    """Prints the message as one line on stderr."""
    print(f"unspool: {' '.join(message.split())}", file=sys.stderr)


def _display_path(file: str | None) -> str:
    if file is None:
        return "?"
    path = os.path.relpath(file)
    return file if path.startswith("..") else path
