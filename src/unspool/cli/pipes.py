"""Output into a pipe that may be closed, by `head` for instance, before all is said."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def survive_closed_pipes() -> Iterator[None]:
    """Lets what is printed from now on go nowhere once nobody reads it: a training goes on."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Surviving(stream) for stream in before)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


class _Surviving:
    """A stream that is as another one, but for a pipe whose reader is gone."""

    def __init__(self, stream: Any):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        """Leads the stream, and what it holds back still, to nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
