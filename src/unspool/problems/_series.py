"""Positive time series: reading them from a CSV file, and checking them."""

import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..data.table import read_table


class TimeSeries(NamedTuple):
    """A series, and the names of what is observed."""

    names: list[str]
    times: Float[np.ndarray, " n"]
    observations: Float[np.ndarray, "n d"]


def read_series(path: str | os.PathLike) -> TimeSeries:
    """The first column as times and the others as observations. The first row is a header."""
    header, table = read_table(path, columns="the time and an observation", min_rows=2)
    return TimeSeries(header[1:], table[:, 0], table[:, 1:])


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
