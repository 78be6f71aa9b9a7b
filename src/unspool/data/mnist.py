"""MNIST and Fashion-MNIST, small gray images of ten kinds."""

import os
from pathlib import Path

import numpy as np

from .dataset import Dataset, Splits
from .idx import read_idx
from .search_path import Collection

_SIDE = 28
_CLASSES = 10

_FASHION = Collection(
    "Fashion-MNIST",
    ("fashion-mnist", "FashionMNIST/raw"),
    "install the Debian package dataset-fashion-mnist, or download the four files of "
    "https://github.com/zalandoresearch/fashion-mnist and give their folder as data_dir",
)

_DIGITS = Collection(
    "MNIST",
    ("mnist", "MNIST/raw"),
    "download the usual four files, for instance from "
    "https://ossci-datasets.s3.amazonaws.com/mnist/, and give their folder as data_dir",
)


def fashion_mnist(data_dir: str | os.PathLike | None = None) -> Splits:
    """Reads Fashion-MNIST: 60 000 gray images of clothes to learn from and 10 000 to test on.

    Inputs are float32 from 0 (background) to 1, of shape `(examples, 28, 28)`; targets are int32
    from 0 to 9, in this order T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker,
    bag and ankle boot.

    **Arguments:**

    - `data_dir`: a folder with the four IDX files, gzipped or plain, in itself, in
      `fashion-mnist` or in `FashionMNIST/raw`, as torchvision keeps them. Where they are not
      there, and by default, the files of the Debian package `dataset-fashion-mnist` are read.

    **Returns:** `Splits`, the data sets `train` and `test`.

    **Raises:** `FileNotFoundError` for a missing file, with where to get it; `ValueError` for one
    that is no such file.

    **Example:**

    >>> from unspool import data
    >>> train, test = data.fashion_mnist("downloads")
    >>> train.inputs.shape[1:], train.inputs.dtype.name
    ((28, 28), 'float32')

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms, 2017, arXiv 1708.07747.
    """
    return _read_splits(_FASHION, data_dir)


def mnist(data_dir: str | os.PathLike | None = None) -> Splits:
    """Reads MNIST: 60 000 gray images of handwritten digits to learn from and 10 000 to test on.

    Inputs are float32 from 0 (background) to 1, of shape `(examples, 28, 28)`; targets are int32,
    the digits.

    **Arguments:**

    - `data_dir`: a folder with the four IDX files, gzipped or plain, in itself, in `mnist` or in
      `MNIST/raw`, as torchvision keeps them. Where they are not there, and by default, the folder
      is searched that Linux distributions install data sets into.

    **Returns:** `Splits`, the data sets `train` and `test`.

    **Raises:** `FileNotFoundError` for a missing file, with where to get it; `ValueError` for one
    that is no such file.

    **Example:**

    >>> from unspool import data
    >>> train, test = data.mnist("downloads")
    >>> train.inputs.shape[1:], train.inputs.dtype.name
    ((28, 28), 'float32')

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86, 1998.
    """
    return _read_splits(_DIGITS, data_dir)


def _read_splits(collection: Collection, data_dir: str | os.PathLike | None) -> Splits:
    names = [
        f"{part}-{content}-ubyte"
        for part in ("train", "t10k")
        for content in ("images-idx3", "labels-idx1")
    ]
    paths = collection.find(data_dir, tuple((f"{name}.gz", name) for name in names))
    return Splits(_read_dataset(*paths[:2]), _read_dataset(*paths[2:]))


def _read_dataset(images_path: Path, labels_path: Path) -> Dataset:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) == 0 or images.shape[1:] != (_SIDE, _SIDE):
        raise ValueError(
            f"{images_path} must have the dimensions n x {_SIDE} x {_SIDE} with n of at least 1, "
            f"got {' x '.join(map(str, images.shape))}"
        )
    if len(labels) != len(images):
        raise ValueError(
            f"{labels_path} must have {len(images)} labels, one for each image in "
            f"{images_path.name}, got {len(labels)}"
        )
    if labels.max() >= _CLASSES:
        raise ValueError(
            f"{labels_path} must have labels from 0 to {_CLASSES - 1}, got {labels.max()}"
        )
    return Dataset(images.astype(np.float32) / np.float32(255), labels.astype(np.int32))
