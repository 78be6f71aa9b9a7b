"""Progress of a run: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Show = Callable[[int | float, str], None]
"""A callback for the count that is done, and a note to show beside it."""

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

    rate = _rate()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, {{task.fields[rate]}},"),
        TimeRemainingColumn(),
        TextColumn("left, {task.fields[note]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done, rate="compiling", note="")

        def show(count: int | float, note: str) -> None:
            speed = rate(count)
            shown = _format_rate(speed) if speed else "-/s"
            progress.update(task, completed=count, rate=shown, note=note)

        yield show


@contextlib.contextmanager
def _lines(total: int, done: int, unit: str) -> Iterator[Show]:
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
        print(f"{count:.0f}/{total} {unit}{pace}{note and ', '}{note}", flush=True)

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
