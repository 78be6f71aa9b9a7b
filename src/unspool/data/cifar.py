"""CIFAR-10, small color images of ten kinds, from pickles that are not trusted."""

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from .dataset import Dataset, Splits
from .search_path import Collection
from .unpickle import ForbiddenName, PickledArray, unpickle

_FOLDER = "cifar-10-batches-py"
_ARCHIVE = "cifar-10-python.tar.gz"
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)

_COLORS, _SIDE, _CLASSES = 3, 32, 10
_PIXELS = _COLORS * _SIDE * _SIDE

_CIFAR10 = Collection(
    "CIFAR-10",
    ("cifar-10",),
    f"download it from https://www.cs.toronto.edu/~kriz/{_ARCHIVE} and give its folder as data_dir",
)


def cifar10(data_dir: str | os.PathLike | None = None) -> Splits:
    """Reads CIFAR-10: 50 000 color photographs of things to learn from and 10 000 to test on.

    Inputs are float32 from 0 to 1, of shape `(examples, 32, 32, 3)`, the last axis red, green and
    blue; targets are int32 from 0 to 9, in this order airplane, automobile, bird, cat, deer, dog,
    frog, horse, ship and truck. Together they take 740 MB.

    The published files are pickles, which could run any program. They are read such that only
    arrays, lists, dictionaries, strings and numbers can come of them.

    **Arguments:**

    - `data_dir`: a folder with the extracted `cifar-10-batches-py` or with
      `cifar-10-python.tar.gz`, in itself or in `cifar-10`. Where they are not there, and by
      default, the folder is searched that Linux distributions install data sets into.

    **Returns:** `Splits`, the data sets `train` and `test`.

    **Raises:** `FileNotFoundError` for a missing file, with where to get it; `ValueError` for one
    that is no such file, or holds more than it should.

    **Example:**

    >>> from unspool import data
    >>> train, test = data.cifar10("downloads")
    >>> train.inputs.shape[1:], train.targets.dtype.name
    ((32, 32, 3), 'int32')

    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    (path,) = _CIFAR10.find(data_dir, ((_FOLDER, _ARCHIVE),))
    contents = _read_folder(path) if path.is_dir() else _read_archive(path)
    batches = {
        name: _parse_batch(f"{name} in {path}", contents.pop(name)) for name in (*_TRAIN, *_TEST)
    }
    return Splits(_join([batches[name] for name in _TRAIN]), _join([batches[_TEST[0]]]))


def _read_folder(path: Path) -> dict[str, bytes]:
    contents = {}
    for name in (*_TRAIN, *_TEST):
        if not (path / name).exists():
            raise _CIFAR10.missing(name, [path])
        contents[name] = (path / name).read_bytes()
    return contents


def _read_archive(path: Path) -> dict[str, bytes]:
    """The batches in the archive, in one pass: to go back in it is to unpack it again."""
    contents = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if folder == _FOLDER and name in (*_TRAIN, *_TEST) and member.isfile():
                    file = archive.extractfile(member)
                    assert file is not None
                    contents[name] = file.read()
    except (EOFError, tarfile.TarError, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzipped tar archive, got a broken one; download it once more"
        ) from error
    for name in (*_TRAIN, *_TEST):
        if name not in contents:
            raise ValueError(
                f"{path} must hold {_FOLDER}/{name}, got an archive without it; "
                "download it once more"
            )
    return contents


def _parse_batch(where: str, content: bytes) -> Dataset:
    """Images as bytes, and their labels."""
    try:
        batch = unpickle(content)
    except ForbiddenName as error:
        raise ValueError(
            f"{where} must hold arrays, lists, strings and numbers alone, got {str(error)!r}, "
            "which could run a program and was not touched; download it once more"
        ) from error
    # A broken pickle can raise anything.
    except Exception as error:
        raise ValueError(
            f"{where} must be a pickled batch of images, got something else; download it once more"
        ) from error
    fields = batch if isinstance(batch, dict) else {}
    array, labels = fields.get(b"data"), fields.get(b"labels")
    if not isinstance(array, PickledArray) or array.values.shape[1:] != (_PIXELS,):
        got = array.values.shape if isinstance(array, PickledArray) else type(array).__name__
        raise ValueError(
            f"{where} must have data, an array of bytes of the shape (n, {_PIXELS}), got {got}"
        )
    if not isinstance(labels, list) or len(labels) != len(array.values):
        got = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise ValueError(
            f"{where} must have labels, a list of {len(array.values)}, one for each image, "
            f"got {got}"
        )
    for label in labels:
        if not isinstance(label, int) or not 0 <= label < _CLASSES:
            raise ValueError(
                f"{where} must have labels that are integers from 0 to {_CLASSES - 1}, "
                f"got {label!r}"
            )
    return Dataset(array.values, np.array(labels, np.int32))


def _join(batches: list[Dataset]) -> Dataset:
    images = np.concatenate([batch.inputs for batch in batches])
    images = images.reshape(-1, _COLORS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    scaled = images.astype(np.float32, order="C")
    scaled /= 255
    return Dataset(scaled, np.concatenate([batch.targets for batch in batches]))
