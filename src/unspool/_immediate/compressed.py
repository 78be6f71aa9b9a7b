"""Sparse Jacobians from few derivatives: columns that no row tells apart share a direction."""

import numpy as np
from jaxtyping import Bool, Int


def color_columns(
    wanted: Bool[np.ndarray, "rows columns"], pattern: Bool[np.ndarray, "rows columns"]
) -> Int[np.ndarray, " columns"]:
    """A color for each column, so that every wanted entry is alone of its color in its row.

    `pattern` says where a matrix may have entries. Its product with a vector that is one in the
    columns of a color, and zero elsewhere, then holds the wanted entries of these columns.
    """
    together = wanted.astype(np.float32).T @ pattern.astype(np.float32) > 0
    conflicts = (together | together.T) & ~np.eye(len(together), dtype=bool)
    colors = np.full(len(conflicts), -1)
    for column, others in enumerate(conflicts):
        taken = set(colors[others])
        colors[column] = next(color for color in range(len(colors)) if color not in taken)
    return colors


def directions_of(colors: Int[np.ndarray, " columns"]) -> Bool[np.ndarray, "colors columns"]:
    """The directions along which the matrix is to be multiplied."""
    return np.arange(max(colors, default=-1) + 1)[:, None] == colors
