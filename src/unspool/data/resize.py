"""Images of another size."""

import numpy as np

from .dataset import Dataset, check_dataset


def resize(dataset: Dataset, side: int) -> Dataset:
    r"""Resizes images to `side` x `side` pixels, sampled bilinearly.

    $$ y_i = (1 - f)\, x_{\lfloor p \rfloor} + f\, x_{\lfloor p \rfloor + 1}, \qquad
       p = (i + \tfrac{1}{2}) \frac{\mathrm{size}}{\mathrm{side}} - \tfrac{1}{2}, \qquad
       f = p - \lfloor p \rfloor $$

    along either axis; beyond the outermost pixels their values hold. Nothing is averaged: images
    made much smaller are samples of the large ones, not blurred versions of them, as in the
    published experiments on learned optimizers (Li et al., 2023, arXiv:2304.12180).

    **Arguments:**

    - `dataset`: inputs of shape `(examples, height, width)`, or with colors as a last axis.
      Integers become float32.
    - `side`: pixels in a row and in a column.

    **Returns:** a data set with inputs of shape `(examples, side, side)`, or with colors as a last
    axis.

    **Raises:** `ValueError` for inputs that are no images, and a side below 1.

    **Example:**

    >>> from unspool import data
    >>> images = data.Dataset(jax.device_get(jnp.ones((5, 28, 28))), jax.device_get(jnp.arange(5)))
    >>> data.resize(images, 8).inputs.shape
    (5, 8, 8)
    """
    check_dataset("dataset", dataset)
    images = np.asarray(dataset.inputs)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            "dataset must have inputs of the shape (examples, height, width), or with colors "
            f"last, got {images.shape}"
        )
    if not isinstance(side, int | np.integer) or side < 1:
        raise ValueError(
            f"side must be an integer of at least 1, got {side!r}; the nearest legal value is 1"
        )
    for axis in (1, 2):
        images = _sample(images, axis, int(side))
    return Dataset(images, dataset.targets)


def _sample(images: np.ndarray, axis: int, side: int) -> np.ndarray:
    size = images.shape[axis]
    positions = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    before = positions.astype(int)
    after = np.minimum(before + 1, size - 1)
    dtype = images.dtype if np.issubdtype(images.dtype, np.floating) else np.float32
    fraction = (positions - before).astype(dtype)
    fraction = fraction.reshape(-1, *[1] * (images.ndim - 1 - axis))
    low, high = (np.take(images, index, axis).astype(dtype) for index in (before, after))
    return (1 - fraction) * low + fraction * high
