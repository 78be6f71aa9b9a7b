"""MNIST and Fashion-MNIST from small files written here, and the errors for malformed ones."""

import gzip
import itertools
import struct

import numpy as np
import pytest

from support.data import error_of
from support.data import system as system
from support.data_files import IMAGES, LABELS, idx, write_idx
from unspool import data

NAMES = {"fashion": ("fashion-mnist", "FashionMNIST/raw"), "digits": ("mnist", "MNIST/raw")}
READERS = {"fashion": data.fashion_mnist, "digits": data.mnist}
TITLES = {"fashion": "Fashion-MNIST", "digits": "MNIST"}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("zipped", [True, False], ids=["gzipped", "plain"])
def test_idx_files_become_images_between_zero_and_one(kind, zipped, tmp_path):
    write_idx(tmp_path, zipped)
    splits = READERS[kind](tmp_path)
    for one, part in ((splits.train, "train"), (splits.test, "t10k")):
        assert one.inputs.dtype == np.float32 and one.targets.dtype == np.int32
        np.testing.assert_allclose(one.inputs, IMAGES[part] / 255, rtol=1e-6)
        np.testing.assert_array_equal(one.targets, LABELS[part])
    assert np.all(splits.test.inputs == np.float32(0.2))


@pytest.mark.parametrize("kind", READERS)
def test_idx_files_are_found_in_the_usual_folders(kind, tmp_path, system):
    """Every folder that is filled comes before those that were filled earlier."""
    for first, folder in enumerate([system / NAMES[kind][0], tmp_path, *named(tmp_path, kind)]):
        write_idx(folder, labels={"train": np.full(3, first), "t10k": np.full(2, first)})
        assert list(READERS[kind](tmp_path).train.targets) == 3 * [first]
        assert list(READERS[kind]().train.targets) == 3 * [0]


def named(folder, kind):
    """The folders in it by their names, the one looked into first at the end."""
    return [folder / name for name in reversed(NAMES[kind])]


def test_a_folder_of_both_collections_does_not_mix_them_up(tmp_path):
    write_idx(tmp_path / "mnist", labels={"train": np.full(3, 1), "t10k": np.full(2, 1)})
    write_idx(tmp_path / "fashion-mnist", labels={"train": np.full(3, 2), "t10k": np.full(2, 2)})
    assert list(data.mnist(tmp_path).test.targets) == [1, 1]
    assert list(data.fashion_mnist(str(tmp_path)).test.targets) == [2, 2]


@pytest.mark.parametrize("kind", READERS)
def test_missing_files_are_named_with_where_to_get_them(kind, tmp_path, system):
    message = error_of(FileNotFoundError, lambda: READERS[kind](tmp_path))
    looked = [*named(tmp_path, kind)[::-1], tmp_path, system / NAMES[kind][0]]
    assert message.startswith(
        "train-images-idx3-ubyte.gz or train-images-idx3-ubyte of "
        f"{TITLES[kind]} is not in {', '.join(map(str, looked))}: "
    )
    assert message.endswith("and give their folder as data_dir") and "four files" in message
    if kind == "fashion":
        assert "install the Debian package dataset-fashion-mnist" in message
        assert "https://github.com/zalandoresearch/fashion-mnist" in message
    message = error_of(FileNotFoundError, READERS[kind])
    assert f"{TITLES[kind]} is not in {system / NAMES[kind][0]}: " in message


def test_a_folder_with_some_of_the_files_is_not_completed_from_another(tmp_path, system):
    write_idx(system / "mnist")
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert error_of(FileNotFoundError, lambda: data.mnist(tmp_path)).startswith(
        "t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte of MNIST is not in "
        f"{tmp_path}: download"
    )


IMAGE, ZIPPED = idx(IMAGES["train"]), gzip.compress(idx([9, 0, 4]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3", IMAGE[:15], "must begin with a header of 16 bytes, got 15 in all"),
        ("train-images-idx3", b"", "must begin with a header of 16 bytes, got 0 in all"),
        (
            "train-images-idx3",
            idx(np.zeros(12)),
            "must begin with the magic number 2051, of unsigned bytes in 3 dimensions, got 2049",
        ),
        (
            "train-labels-idx1",
            b"\0\0\x0d\x01" + idx([1, 2, 3])[4:],
            "must begin with the magic number 2049, of unsigned bytes in 1 dimensions, got 3329",
        ),
        (
            "train-images-idx3",
            IMAGE[:-1],
            "must have 2352 bytes after its header, as its dimensions 3 x 28 x 28 say, got 2351",
        ),
        (
            "train-images-idx3",
            IMAGE + b"\0",
            "must have 2352 bytes after its header, as its dimensions 3 x 28 x 28 say, got 2353",
        ),
        (
            # More bytes than 64 bits can count.
            "train-images-idx3",
            struct.pack(">4I", 2051, *3 * [2**32 - 1]),
            f"must have {(2**32 - 1) ** 3} bytes after its header, as its dimensions "
            f"{' x '.join(3 * [str(2**32 - 1)])} say, got 0",
        ),
        (
            "t10k-images-idx3",
            idx(np.zeros((2, 32, 28))),
            "must have the dimensions n x 28 x 28 with n of at least 1, got 2 x 32 x 28",
        ),
        (
            "train-images-idx3",
            idx(np.zeros((0, 28, 28))),
            "must have the dimensions n x 28 x 28 with n of at least 1, got 0 x 28 x 28",
        ),
        (
            "t10k-labels-idx1",
            idx([1, 2, 3]),
            "must have 2 labels, one for each image in t10k-images-idx3-ubyte, got 3",
        ),
        ("train-labels-idx1", idx([1, 10, 3]), "must have labels from 0 to 9, got 10"),
        (
            "train-images-idx3",
            gzip.compress(IMAGE)[:1000],
            "must be a whole gzip file, got a broken one, 1000 bytes long; download it once more",
        ),
        (
            "train-labels-idx1",
            ZIPPED[:10] + b"\xff" + ZIPPED[11:],
            f"must be a whole gzip file, got a broken one, {len(ZIPPED)} bytes long; download it "
            "once more",
        ),
        (
            "train-labels-idx1",
            ZIPPED[:-8] + bytes(8),
            f"must be a whole gzip file, got a broken one, {len(ZIPPED)} bytes long; download it "
            "once more",
        ),
    ],
    ids=itertools.count(),
)
def test_malformed_idx_files_are_named(name, content, message, tmp_path):
    write_idx(tmp_path, zipped=False)
    path = tmp_path / f"{name}-ubyte"
    path.write_bytes(content)
    assert error_of(ValueError, lambda: data.mnist(tmp_path)) == f"{path} {message}"
