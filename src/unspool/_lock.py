"""One writer for a directory at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, nobody is kept out.
    fcntl = None


class LockedError(Exception):
    """Somebody else is writing."""


@contextlib.contextmanager
def hold_lock(file: Path) -> Iterator[None]:
    """Holds a lock as long as the context lasts, and no longer than the process does.

    The lock is the operating system's: one that was left by a process which was killed is gone.

    **Raises:** `LockedError` if it is held already, be it by this process.
    """
    if fcntl is None:
        yield
        return
    with open(file, "a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LockedError from error
        yield
