"""Progress of a training: a bar where somebody watches, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._updates import Record

Show = Callable[[int | float, str], None]
"""A callback for the count that is done, and a note to show beside it."""

_PARTS = 10
_SECONDS = 30.0


@contextlib.contextmanager
def show_progress(total: int, done: int, unit: str, stream: Any) -> Iterator[Show]:
    """Shows progress from `done` to `total` of a unit until the block is left.

    `stream` is what text is written to, such as `sys.stderr`.

    **Raises:** `ImportError` without tqdm, where a bar is to be drawn.
    """
    drawn = stream.isatty() or _in_notebook()
    with (_bar if drawn else _lines)(total, done, unit, stream) as show:
        yield show


def with_progress(records: Iterator[Record], num_updates: int, made: int) -> Iterator[Record]:
    """The records of a training up to `num_updates`, each of which moves a bar on stderr."""
    note = make_notes()
    with show_progress(num_updates, made, "updates", sys.stderr) as show:
        for record in records:
            show(record.update, note(record))
            yield record


def make_notes() -> Callable[[Record], str]:
    """The notes to show beside the records of a training: the loss, and a sigma that changes."""
    seen = []

    def note(record: Record) -> str:
        seen.append(record.sigma)
        changes = record.sigma == record.sigma != seen[0]
        return f"loss {record.loss:.6g}" + (f", sigma {record.sigma:.3g}" if changes else "")

    return note


def _in_notebook() -> bool:
    """True in the kernel of a notebook, whose streams are no terminals."""
    shell = sys.modules.get("IPython")
    return shell is not None and "IPKernelApp" in getattr(shell.get_ipython(), "config", ())


@contextlib.contextmanager
def _bar(total: int, done: int, unit: str, stream: Any) -> Iterator[Show]:
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        raise ImportError(
            "a progress bar needs tqdm, which is not there: pip install 'unspool[notebook]'"
        ) from None
    with tqdm(total=total, initial=done, unit=f" {unit}", file=stream) as bar:

        def show(count: int | float, note: str) -> None:
            bar.set_postfix_str(note, refresh=False)
            bar.update(int(count) - bar.n)

        yield show


@contextlib.contextmanager
def _lines(total: int, done: int, unit: str, stream: Any) -> Iterator[Show]:
    """A line at every tenth of the way, and every half minute."""
    rate = _rate()
    shown: int | float = done
    last = time.monotonic()

    def show(count: int | float, note: str) -> None:
        nonlocal shown, last
        speed = rate(count)
        part = count * _PARTS // total > shown * _PARTS // total
        ends = count == total != shown
        if not (part or ends or time.monotonic() - last > _SECONDS):
            return
        shown, last = count, time.monotonic()
        pace = ""
        if speed:
            pace = f", {_format_rate(speed)}, {_duration((total - count) / speed)} left"
        print(f"{count:.0f}/{total} {unit}{pace}{note and ', '}{note}", file=stream, flush=True)

    yield show


def _rate() -> Callable[[int | float], float | None]:
    """Units per second since the first call, before which there was compilation."""
    first: list[tuple[int | float, float]] = []

    def rate(count: int | float) -> float | None:
        now = time.monotonic()
        if not first:
            first.append((count, now))
        done, seconds = count - first[0][0], now - first[0][1]
        return done / seconds if done > 0 and seconds > 0 else None

    return rate


def _format_rate(speed: float) -> str:
    """`1,140/s`, or three digits of what is less than a hundred."""
    return f"{speed:,.0f}/s" if speed >= 100 else f"{speed:.3g}/s"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
