"""How far a run has come: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Show = Callable[[int, str], None]
"""What is told how many of the total are done, and a note to show beside it."""

_PARTS = 10
_SECONDS = 30.0


@contextlib.contextmanager
def show_progress(total: int, done: int, unit: str) -> Iterator[Show]:
    """Shows progress from `done` to `total` of a unit until the block is left."""
    with _bar(total, done, unit) if sys.stdout.isatty() else _lines(total, done, unit) as show:
        yield show


@contextlib.contextmanager
def _bar(total: int, done: int, unit: str) -> Iterator[Show]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = _rate(done)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, {{task.fields[rate]}},"),
        TimeRemainingColumn(),
        TextColumn("left, {task.fields[note]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done, rate="compiling", note="")

        def show(count: int, note: str) -> None:
            progress.update(task, completed=count, rate=f"{rate(count):.3g}/s", note=note)

        yield show


@contextlib.contextmanager
def _lines(total: int, done: int, unit: str) -> Iterator[Show]:
    """A line at every tenth of the way, and every half minute."""
    rate = _rate(done)
    shown, last = done, time.monotonic()

    def show(count: int, note: str) -> None:
        nonlocal shown, last
        part = count * _PARTS // total > shown * _PARTS // total
        if not (part or count == total or time.monotonic() - last > _SECONDS):
            return
        shown, last = count, time.monotonic()
        speed = rate(count)
        left = f"{_duration((total - count) / speed)} left" if speed > 0 else "no rate yet"
        print(f"{count}/{total} {unit}, {speed:.3g}/s, {left}, {note}", flush=True)

    yield show


def _rate(done: int) -> Callable[[int], float]:
    began = time.monotonic()
    return lambda count: (count - done) / max(time.monotonic() - began, 1e-9)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
