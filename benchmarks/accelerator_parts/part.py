"""A part of the benchmark: rows that are measured as long as there is time."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """What the command line says.

    - `out`: the folder of the results.
    - `data`: a folder with the files of Fashion-MNIST, or `None`.
    - `small`: whether sizes are those of a test.
    """

    out: Path
    data: Path | None
    small: bool


class Column(NamedTuple):
    """A column of the table: the key in the rows, the title, and how a number is written."""

    key: str
    title: str
    format: str = ".3g"


Row = dict[str, Any]
"""Numbers by name. One with `complete` false is measured again, or gone on with, by `--resume`;
`note` says why."""

Left = Callable[[], float]
"""The seconds left to a part."""

Cases = Mapping[str, Callable[[Left], Iterable[Row]]]
"""For each row what measures it: it yields the row, several times if it grows."""


class Part(NamedTuple):
    """One part: its name, title and columns, its share of the time, and what measures it.

    `measure` takes the settings, the rows that an earlier run has left and the seconds left, and
    yields names with rows.
    """

    name: str
    title: str
    share: float
    columns: tuple[Column, ...]
    measure: Callable[[Settings, Mapping[str, Row], Left], Iterator[tuple[str, Row]]]


def run_part(part, settings, results, end):
    """Measures the rows that are not there yet, until the time (`time.monotonic()`) is up."""
    began = time.monotonic()
    left = lambda: end - time.monotonic()
    for name, row in part.measure(settings, results.rows(part.name), left):
        results.save(part.name, name, row)
        print(f"{part.name}: {name}: {row.get('note', 'measured')}", flush=True)
    results.add_seconds(part.name, time.monotonic() - began)


def in_turn(cases: Cases, before, left):
    """The rows one after the other, as timings need it."""
    for name, case in wanted(cases, before):
        for row in attempt(case, before.get(name, {}), left):
            yield name, row


def in_parallel(cases: Cases, before, left):
    """The rows of cases of which most is compilation, in several threads."""
    last = lambda case, row: list(attempt(case, row, left))[-1]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = {
            name: pool.submit(last, case, before.get(name, {}))
            for name, case in wanted(cases, before)
        }
        for name, row in rows.items():
            yield name, row.result()


def wanted(cases, before):
    return [(k, case) for k, case in cases.items() if not before.get(k, {}).get("complete")]


def attempt(case, row, left):
    """The rows of a case, or what there was with a note that says why there are no more."""
    row = {key: value for key, value in row.items() if key != "note"}
    if left() <= 0:
        yield row | {"complete": False, "note": "no time was left"}
        return
    try:
        for found in case(left):
            row = {"complete": True} | found
            yield row
    except Exception as error:  # Whatever it is, the other rows are still wanted.
        yield row | {"complete": False, "note": sentence(error)}


def sentence(error):
    """The kind of an error and its first line, short enough for a table."""
    first = next(iter(str(error).strip().splitlines()), "")
    text = first if isinstance(error, OSError | MemoryError) else f"{type(error).__name__}: {first}"
    return text if len(text) <= 160 else text[:157] + "..."
