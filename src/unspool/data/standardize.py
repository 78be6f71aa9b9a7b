"""Inputs on one scale, measured on the examples that are learned from."""

import numpy as np

from .dataset import Dataset, check_dataset


def standardize(dataset: Dataset, *others: Dataset) -> tuple[Dataset, ...]:
    r"""Scales data sets so that the inputs of the first one have mean 0 and standard deviation 1.

    $$ x \leftarrow \frac{x - \mathrm{mean}(x_\mathrm{first})}{\mathrm{std}(x_\mathrm{first})} $$

    Mean and standard deviation are those of the first data set alone, so that nothing is learned
    from the data that it is validated or tested on. Each feature of a table has its own; images,
    which is inputs of more than two axes, have one for all pixels. What is constant in the first
    data set is only shifted, to zero there. Targets stay as they are.

    **Arguments:**

    - `dataset`: what to learn from, finite. Integers become floating point.
    - `others`: what is treated alike; the shape of an input must be the same.

    **Returns:** as many data sets as given, in the same order.

    **Raises:** `ValueError` for an input that is not finite in the first data set, no examples,
    and inputs of different shapes.

    **Example:**

    >>> from unspool import data
    >>> train, valid = data.standardize(*data.split(data.diabetes(), 300, -1))
    >>> print(f"{abs(train.inputs[:, 0].mean()):.2f} {train.inputs[:, 0].std():.2f}")
    0.00 1.00
    """
    check_dataset("dataset", dataset)
    inputs = dataset.inputs
    for index, other in enumerate(others):
        check_dataset(f"others[{index}]", other)
        if other.inputs.shape[1:] != inputs.shape[1:]:
            raise ValueError(
                f"others[{index}] must have inputs of the shape {inputs.shape[1:]} as the first "
                f"data set has, got {other.inputs.shape[1:]}"
            )
    if not np.all(np.isfinite(inputs)):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(inputs))[0])
        raise ValueError(
            f"dataset must have finite inputs, got {inputs[place]} at {place} (counted from 0)"
        )
    center, scale = _center_and_scale(inputs)
    return tuple(Dataset((one.inputs - center) / scale, one.targets) for one in (dataset, *others))


def _center_and_scale(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = 0 if inputs.ndim <= 2 else None
    dtype = np.result_type(inputs.dtype, np.float32)
    low, high = inputs.min(axis=axes), inputs.max(axis=axes)
    # Compared, for the standard deviation of equal numbers is not zero after rounding.
    constant = low == high
    # In float64, for sums over many examples in float32 lose digits.
    center = np.where(constant, low, inputs.mean(axis=axes, dtype=np.float64))
    scale = np.where(constant, 1, inputs.std(axis=axes, dtype=np.float64))
    return center.astype(dtype), scale.astype(dtype)
