"""CIFAR-10 from small batches written here, and the errors for malformed ones."""

import builtins
import io
import itertools
import os
import pickle
import struct
import tarfile
import warnings

import numpy as np
import pytest

from support.data import error_of
from support.data import system as system
from support.data_files import (
    BATCHES,
    CONTENTS,
    FOLDER,
    PIXELS,
    write_folder,
)
from unspool import data
from unspool.data.unpickle import PickledArray

ARCHIVE = "cifar-10-python.tar.gz"


def write_archive(folder, contents=CONTENTS):
    """Out of order and with other files, as the published archive is."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for name, content in sorted({**contents, "readme.html": b""}.items(), reverse=True):
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in PIXELS.keys() - contents.keys():
            # What goes by the name of a batch and has no content.
            link = tarfile.TarInfo(f"{FOLDER}/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/dev/null"
            archive.addfile(link)


def test_the_pickles_written_here_are_those_that_python_reads():
    with warnings.catch_warnings():
        # Some versions of NumPy call such files deprecated.
        warnings.simplefilter("ignore")
        batch = pickle.loads(CONTENTS["data_batch_3"], encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], PIXELS["data_batch_3"])
    assert batch[b"labels"] == [2, 7] and batch[b"batch_label"] == b"one"


@pytest.mark.parametrize("write", [write_folder, write_archive])
@pytest.mark.parametrize("place", ["given", "given/cifar-10", "system/cifar-10"])
def test_cifar_batches_become_color_images(write, place, tmp_path):
    write(tmp_path / place)
    train, test = data.cifar10(tmp_path / "given")
    assert train.inputs.shape == (10, 32, 32, 3) and test.inputs.shape == (2, 32, 32, 3)
    assert train.inputs.dtype == np.float32 and train.targets.dtype == np.int32
    assert train.inputs.flags.c_contiguous
    assert list(train.targets) == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5] and list(test.targets) == [5, 4]
    # All red values come first in a file, then all green and all blue ones, row by row.
    for image, row, column, color in [(0, 0, 0, 0), (3, 5, 31, 1), (9, 31, 2, 2)]:
        byte = PIXELS[BATCHES[image // 2]][image % 2, 1024 * color + 32 * row + column]
        assert train.inputs[image, row, column, color] == np.float32(byte) / np.float32(255)
    assert np.isclose(test.inputs.mean(), PIXELS["test_batch"].mean() / 255)


@pytest.mark.parametrize("order", ["C", "F"])
def test_cifar_batches_may_be_pickled_anew(order, tmp_path):
    pixels = np.asarray(PIXELS["test_batch"], order=order)
    content = pickle.dumps({b"data": pixels, b"labels": [1, 2]}, protocol=4)
    write_folder(tmp_path, {**CONTENTS, "test_batch": content})
    test = data.cifar10(tmp_path).test
    expected = PIXELS["test_batch"].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1) / 255
    np.testing.assert_allclose(test.inputs, expected, rtol=1e-6)


def test_missing_cifar_files_are_named(tmp_path, system):
    advice = (
        f"download it from https://www.cs.toronto.edu/~kriz/{ARCHIVE} and give its folder as "
        "data_dir"
    )
    assert error_of(FileNotFoundError, lambda: data.cifar10(tmp_path)) == (
        f"{FOLDER} or {ARCHIVE} of CIFAR-10 is not in {tmp_path / 'cifar-10'}, {tmp_path}, "
        f"{system / 'cifar-10'}: {advice}"
    )
    without = {name: CONTENTS[name] for name in BATCHES}
    write_folder(tmp_path, without)
    assert error_of(FileNotFoundError, lambda: data.cifar10(tmp_path)) == (
        f"test_batch of CIFAR-10 is not in {tmp_path / FOLDER}: {advice}"
    )
    write_archive(tmp_path / "cifar-10", without)
    assert error_of(ValueError, lambda: data.cifar10(tmp_path)) == (
        f"{tmp_path / 'cifar-10' / ARCHIVE} must hold {FOLDER}/test_batch, got an archive without "
        "it; download it once more"
    )


@pytest.mark.parametrize("broken", [slice(1000), slice(1, None), slice(0)])
def test_broken_archives_are_named(broken, tmp_path):
    write_archive(tmp_path)
    path = tmp_path / ARCHIVE
    path.write_bytes(path.read_bytes()[broken])
    assert error_of(ValueError, lambda: data.cifar10(tmp_path)) == (
        f"{path} must be a whole gzipped tar archive, got a broken one; download it once more"
    )


class Calls:
    """Pickled, a call of a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.mkdir, f"{os.name}.mkdir"),
        (builtins.exec, "builtins.exec"),
        (bytearray, "builtins.bytearray"),
        (np.load, "numpy.load"),
        (np.memmap, "numpy.memmap"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_manipulated_cifar_batches_run_nothing(function, name, protocol, tmp_path):
    trap = tmp_path / "trap"
    argument = f"import os; os.mkdir({str(trap)!r})" if function is exec else str(trap)
    batch = {"data": [Calls(function, argument)]}
    # Without the names of Python 2, which Python would put in place of its own.
    content = pickle.dumps(batch, protocol, fix_imports=False)
    write_archive(tmp_path, {**CONTENTS, "data_batch_2": content})
    assert error_of(ValueError, lambda: data.cifar10(tmp_path)) == (
        f"data_batch_2 in {tmp_path / ARCHIVE} must hold arrays, lists, strings and numbers "
        f"alone, got {name!r}, which could run a program and was not touched; "
        "download it once more"
    )
    assert not trap.exists()
    if function in (os.mkdir, exec):
        pickle.loads(content)
        assert trap.exists(), "a trap that does not work proves nothing"


CUT = CONTENTS["data_batch_1"]
WRONG_KIND = CUT.replace(b"U\x02u1", b"U\x02f4")
ON_A_CLASS = b"\x80\x02cnumpy\nndarray\n}U\x05shapeK\x01sb."
SLOTS_ON_A_CLASS = b"\x80\x02cnumpy\nndarray\nN}U\x06valuesK\x01s\x86b."
ARRAY = "must have data, an array of bytes of the shape (n, 3072), got"
LIST = "must have labels, a list of 2, one for each image, got"
RANGE = "must have labels that are integers from 0 to 9, got"
BROKEN = "must be a pickled batch of images, got something else; download it once more"


def pickled(pixels=PIXELS["data_batch_1"], labels=(1, 2)):
    return pickle.dumps({b"data": pixels, b"labels": labels}, protocol=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", BROKEN),
        (CUT[:500], BROKEN),
        (CUT.replace(struct.pack("<H", 3072), struct.pack("<H", 3073)), BROKEN),
        (WRONG_KIND, BROKEN),
        (ON_A_CLASS, BROKEN),
        (SLOTS_ON_A_CLASS, BROKEN),
        (pickle.dumps([1, 2]), f"{ARRAY} NoneType"),
        (pickled(pixels=b"abc"), f"{ARRAY} bytes"),
        (pickled(PIXELS["data_batch_1"][:, :5]), f"{ARRAY} (2, 5)"),
        (pickled(labels=None), f"{LIST} NoneType"),
        (pickled(labels=[1]), f"{LIST} 1"),
        (pickled(labels=[1, 10]), f"{RANGE} 10"),
        (pickled(labels=[1, -1]), f"{RANGE} -1"),
        (pickled(labels=[1, 0.5]), f"{RANGE} 0.5"),
    ],
    ids=itertools.count(),
)
def test_malformed_cifar_batches_are_named(content, message, tmp_path):
    write_folder(tmp_path, {**CONTENTS, "data_batch_1": content})
    expected = f"data_batch_1 in {tmp_path / FOLDER} {message}"
    assert error_of(ValueError, lambda: data.cifar10(tmp_path)) == expected
    assert not hasattr(PickledArray, "shape") and not hasattr(PickledArray, "values")
