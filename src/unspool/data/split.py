"""Parts of a data set drawn at random, to learn from and to validate on."""

import math

import numpy as np

from .dataset import Dataset, check_dataset

_REST = -1


def split(dataset: Dataset, *sizes: int | float, seed: int = 0) -> tuple[Dataset, ...]:
    """Splits a data set into disjoint random parts, one for each size.

    The same seed gives the same parts.

    **Arguments:**

    - `dataset`: what is split; the parts do not keep its order.
    - `sizes`: for each part a number of examples, or a fraction of all between 0 and 1. One may
      be -1, as in a reshape: the examples that the others leave. Without it, examples that no
      size asks for are in no part. Fractions are rounded such that those which add up to 1 make
      use of every example.
    - `seed`: which examples come where; at least 0.

    **Returns:** as many data sets as sizes.

    **Raises:** `ValueError` for a size or a seed that is none of these, sizes that exceed the
    number of examples, and a part without examples.

    **Example:**

    >>> from unspool import data
    >>> train, valid = data.split(data.digits(), 1400, 397)
    >>> train, valid, test = data.split(data.digits(), 0.6, 0.2, -1)
    >>> len(train.inputs), len(valid.inputs), len(test.inputs)
    (1078, 360, 359)
    """
    check_dataset("dataset", dataset)
    _check_sizes(sizes)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(
            f"seed must be an integer of at least 0, got {seed!r}; the nearest legal value is 0"
        )
    num_examples = len(dataset.inputs)
    ends = np.cumsum(_counts(sizes, num_examples))
    order = np.random.default_rng(int(seed)).permutation(num_examples)
    parts = np.split(order[: ends[-1]], ends[:-1])
    return tuple(Dataset(dataset.inputs[part], dataset.targets[part]) for part in parts)


def _check_sizes(sizes: tuple[int | float, ...]) -> None:
    if not sizes:
        raise ValueError("sizes must name at least 1 size, got none")
    for index, size in enumerate(sizes):
        if not (_is_count(size) or _is_fraction(size) or _is_rest(size)):
            raise ValueError(
                f"sizes[{index}] must be an integer of at least 1, a fraction between 0 and 1, or "
                f"-1 for the rest, got {size!r}"
            )
    if sum(map(_is_rest, sizes)) > 1:
        raise ValueError(f"sizes may have -1 for the rest once, got {_written(sizes)}")


def _counts(sizes: tuple[int | float, ...], num_examples: int) -> list[int]:
    """The number of examples of each part."""
    counts, fraction, below = [], 0.0, 0
    for size in sizes:
        if _is_fraction(size):
            # Their sum is rounded, not each: three thirds are all examples, and never one more.
            fraction += size
            upto = math.floor(fraction * num_examples + 0.5)
            counts.append(upto - below)
            below = upto
        else:
            counts.append(0 if _is_rest(size) else int(size))
    taken = sum(counts)
    if taken > num_examples:
        raise ValueError(
            f"sizes must come to at most the {num_examples} examples of the data set together, "
            f"got {_written(sizes)}, which come to {taken}"
        )
    counts = [
        num_examples - taken if _is_rest(size) else count
        for size, count in zip(sizes, counts, strict=True)
    ]
    for index, count in enumerate(counts):
        if count == 0:
            raise ValueError(
                f"sizes[{index}] must leave its part at least 1 of {num_examples} examples, got "
                f"{sizes[index]!r} of {_written(sizes)}"
            )
    return counts


def _is_count(size: object) -> bool:
    return isinstance(size, int | np.integer) and int(size) >= 1


def _is_fraction(size: object) -> bool:
    return isinstance(size, float | np.floating) and 0 < float(size) < 1


def _is_rest(size: object) -> bool:
    return isinstance(size, int | np.integer) and int(size) == _REST


def _written(sizes: tuple[int | float, ...]) -> str:
    return ", ".join(repr(size) for size in sizes)
