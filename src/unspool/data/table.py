"""Tables of numbers from CSV files, with errors that name the line and the column."""

import math
import os
from csv import Error as CSVError
from csv import reader
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .dataset import Dataset


def csv(path: str | os.PathLike, target: str) -> Dataset:
    r"""Reads a table of numbers from a CSV file whose first row names the columns.

    Inputs are float64 of shape `(rows, columns - 1)`, in the order of the file; targets are
    float64 of shape `(rows,)`. A loss that needs classes takes `targets.astype(int)`. Rows in
    which every cell is empty are skipped.

    **Arguments:**

    - `path`: the file, separated by commas, in UTF-8.
    - `target`: the name of the column to be predicted; all others are inputs.

    **Raises:** `ValueError` for a header that is missing or names a column twice, a target that
    is not in it, a row of another length, a cell that is not a finite number, and no rows;
    `FileNotFoundError` for a missing file.

    **Example:**

    >>> from pathlib import Path
    >>> from unspool import data
    >>> size = Path("trees.csv").write_text("height,girth,age\n3.5,0.2,10\n7.0,0.4,21\n")
    >>> inputs, targets = data.csv("trees.csv", target="age")
    >>> inputs.shape, targets.tolist()
    ((2, 2), [10.0, 21.0])
    """
    header, numbers = read_table(path, columns="an input and the target", min_rows=1)
    if target not in header:
        raise ValueError(
            f"target must be a column of {path}, one of {', '.join(header)}, got {target!r}"
        )
    column = header.index(target)
    return Dataset(np.delete(numbers, column, axis=1), numbers[:, column])


class Table(NamedTuple):
    """A table of numbers, and the names of its columns."""

    header: list[str]
    numbers: Float[np.ndarray, "rows columns"]


def read_table(path: str | os.PathLike, *, columns: str, min_rows: int) -> Table:
    """The finite numbers in a CSV file; `columns` says in words which two it needs at least.

    **Raises:** `ValueError` that names the line and the column for anything else, and for fewer
    than `min_rows` rows below the header.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        lines = reader(file)
        try:
            rows = [(lines.line_num, [cell.strip() for cell in row]) for row in lines if any(row)]
        except (CSVError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} must be comma-separated text in UTF-8, got something else: {error}"
            ) from error
    if not rows or len(rows[0][1]) < 2:
        raise ValueError(
            f"{path} must begin with a header of at least 2 columns, {columns}, separated by "
            f"commas, got {len(rows[0][1]) if rows else 0}"
        )
    (_, header), *below = rows
    if all(_is_number(name) for name in header):
        raise ValueError(f"{path} must begin with a header, got the numbers {','.join(header)}")
    for name in header:
        if header.count(name) > 1:
            raise ValueError(f"{path} must name each column once, got {name!r} twice or more")
    if len(below) < min_rows:
        raise ValueError(
            f"{path} must have at least {min_rows} row{'s' * (min_rows > 1)} below its header, "
            f"got {len(below) or 'none'}"
        )
    return Table(header, np.array([_numbers(path, line, row, header) for line, row in below]))


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _numbers(path, line: int, row: list[str], header: list[str]) -> list[float]:
    if len(row) != len(header):
        raise ValueError(
            f"{path}, line {line} must have {len(header)} cells as the header has, got {len(row)}"
        )
    for name, cell in zip(header, row, strict=True):
        if not _is_number(cell):
            raise ValueError(
                f"{path}, line {line}, column {name!r} must be a finite number, got {cell!r}"
            )
    return [float(cell) for cell in row]
