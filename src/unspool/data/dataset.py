"""Data sets: inputs with their targets."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from .._show import show


class Dataset(NamedTuple):
    """Inputs, and for each the target to be predicted from it, as NumPy arrays.

    - `inputs`: shape `(examples, ...)`, such as `(examples, features)` for a table or
      `(examples, height, width)` for images.
    - `targets`: shape `(examples, ...)`, as many as there are inputs.
    """

    inputs: Shaped[np.ndarray, "examples ..."]
    targets: Shaped[np.ndarray, "examples ..."]

    __repr__ = show


class Splits(NamedTuple):
    """A data set in the two parts in which it was published.

    - `train`: what may be learned from, validation included.
    - `test`: what is looked at once, at the end.
    """

    train: Dataset
    test: Dataset

    __repr__ = show


def check_dataset(name: str, dataset: Dataset) -> None:
    """Raises a `ValueError` unless there are examples, each with an input and a target."""
    inputs, targets = np.shape(dataset.inputs), np.shape(dataset.targets)
    if not inputs or inputs[:1] != targets[:1] or inputs[0] == 0:
        raise ValueError(
            f"{name} must have at least 1 example, on the first axis of its inputs and of its "
            f"targets alike, got inputs of the shape {inputs} and targets of the shape {targets}"
        )
