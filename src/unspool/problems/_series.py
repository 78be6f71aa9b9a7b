"""Reading a positive time series from a CSV file, with errors that name the line."""

import csv
import math
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float


def read_series(
    path: str | os.PathLike,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
    """The first column as times and the others as observations. The first row is a header."""
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(row)]
    if not rows or len(rows[0][1]) < 2:
        raise ValueError(
            f"{path} must begin with a header of at least 2 columns, the time and an observation"
        )
    header = [name.strip() for name in rows[0][1]]
    if all(_is_number(name) for name in header):
        raise ValueError(f"{path} must begin with a header, got the numbers {','.join(header)}")
    table = np.array([_numbers(path, number, row, header) for number, row in rows[1:]])
    if len(table) < 2:
        raise ValueError(f"{path} must have at least 2 rows below its header, got {len(table)}")
    return table[:, 0], table[:, 1:]


def check_series(times: np.ndarray, observations: np.ndarray) -> None:
    """Raises a `ValueError` unless a positive series can be fitted in its logarithms."""
    if np.ndim(times) != 1 or len(times) < 2:
        raise ValueError(
            f"times must be a vector of at least 2 entries, got the shape {np.shape(times)}"
        )
    if np.ndim(observations) != 2 or len(observations) != len(times):
        raise ValueError(
            f"observations must have the shape ({len(times)}, d), one row for each of the times, "
            f"got {np.shape(observations)}"
        )
    for index in np.flatnonzero(~(np.diff(times) > 0)):
        raise ValueError(
            f"times must increase, got {times[index]:g} and then {times[index + 1]:g} "
            f"(entries {index} and {index + 1}, counted from 0)"
        )
    if not np.all(np.isfinite(times)):
        raise ValueError("times must be finite, got an infinite entry")
    for row, column in np.argwhere(~((observations > 0) & np.isfinite(observations))):
        raise ValueError(
            "observations must be positive and finite, for the fit is one of logarithms, got "
            f"{observations[row, column]:g} at time {times[row]:g} (column {column} of the "
            "observations, counted from 0)"
        )


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _numbers(path, number: int, row: list[str], header: list[str]) -> list[float]:
    if len(row) != len(header):
        raise ValueError(
            f"{path}, line {number} must have {len(header)} cells as the header has, got {len(row)}"
        )
    for name, cell in zip(header, row, strict=True):
        if not _is_number(cell):
            raise ValueError(
                f"{path}, line {number}, column {name!r} must be a finite number, got {cell!r}"
            )
    return [float(cell) for cell in row]
