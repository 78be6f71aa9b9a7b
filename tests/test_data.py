"""Every source of data from small files written here, and the errors for files that are not so."""

import builtins
import gzip
import inspect
import io
import itertools
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import warnings

import numpy as np
import pytest

from unspool import data
from unspool.data import places
from unspool.data.unpickle import PickledArray

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """An empty folder instead of the one that data sets may be installed in on this computer."""
    monkeypatch.setattr(places, "SYSTEM", tmp_path / "system")
    return tmp_path / "system"


def error_of(kind, call):
    """The message of the error that a call must raise, which must be one sentence."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind and "\n" not in message and not message.endswith(".")
    return message


def test_importing_reads_no_file_and_needs_no_scikit_learn():
    program = """
import sys
import unspool

opened = []
sys.addaudithook(lambda event, details: opened.append(str(details[0])) if event == "open" else None)
from unspool import data

assert all(path.endswith((".py", ".pyc")) for path in opened), opened
assert "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-B", "-c", program], check=True)


def test_exports_are_documented():
    public = {
        name: value
        for name, value in vars(data).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert sorted(public) == sorted(
        "Dataset Splits cifar10 csv diabetes digits fashion_mnist mnist resize split standardise "
        "text".split()
    )
    for name, value in public.items():
        first = value.__doc__.partition("\n")[0]
        assert first.endswith(".") and len(first) > 30, name
    for source in (data.fashion_mnist, data.mnist, data.cifar10, data.digits, data.diabetes):
        assert "Source: " in source.__doc__


# --- MNIST and Fashion-MNIST. ---

IMAGES = {"train": RANDOM.integers(0, 256, (3, 28, 28)), "t10k": np.full((2, 28, 28), 51)}
LABELS = {"train": np.array([9, 0, 4]), "t10k": np.array([1, 2])}
NAMES = {"fashion": ("fashion-mnist", "FashionMNIST/raw"), "digits": ("mnist", "MNIST/raw")}
READERS = {"fashion": data.fashion_mnist, "digits": data.mnist}
TITLES = {"fashion": "Fashion-MNIST", "digits": "MNIST"}


def idx(array):
    array = np.asarray(array)
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + bytes(
        array.astype(np.uint8)
    )


def write_idx(folder, zipped=True, labels=LABELS):
    """The four files, with these labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", IMAGES[part]), ("labels-idx1", labels[part])):
            content = gzip.compress(idx(array)) if zipped else idx(array)
            (folder / f"{part}-{name}-ubyte{'.gz' * zipped}").write_bytes(content)


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


# --- CIFAR-10. ---

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
PIXELS = {name: RANDOM.integers(0, 256, (2, 3072), np.uint8) for name in (*BATCHES, "test_batch")}
KINDS = {name: [i, 9 - i] for i, name in enumerate(PIXELS)}


def python2_pickle(pixels, labels):
    """A batch as Python 2 and the NumPy of its days pickled it."""
    return b"".join(
        (
            b"\x80\x02}(U\x0bbatch_labelU\x03oneU\x06labels](",
            *(b"K" + bytes([label]) for label in labels),
            b"eU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            struct.pack("<4sBBH2s", b"(K\x01K", len(pixels), ord("M"), 3072, b"\x86c"),
            b"numpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff",
            struct.pack("<6sI", b"K\x00tb\x89T", pixels.size),
            pixels.tobytes(),
            b"tbu.",
        )
    )


CONTENTS = {name: python2_pickle(PIXELS[name], KINDS[name]) for name in PIXELS}


def write_folder(folder, contents=CONTENTS):
    (folder / FOLDER).mkdir(parents=True)
    for name, content in contents.items():
        (folder / FOLDER / name).write_bytes(content)


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
def test_cifar_batches_become_colour_images(write, place, tmp_path):
    write(tmp_path / place)
    train, test = data.cifar10(tmp_path / "given")
    assert train.inputs.shape == (10, 32, 32, 3) and test.inputs.shape == (2, 32, 32, 3)
    assert train.inputs.dtype == np.float32 and train.targets.dtype == np.int32
    assert train.inputs.flags.c_contiguous
    assert list(train.targets) == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5] and list(test.targets) == [5, 4]
    # All red values come first in a file, then all green and all blue ones, row by row.
    for image, row, column, colour in [(0, 0, 0, 0), (3, 5, 31, 1), (9, 31, 2, 2)]:
        byte = PIXELS[BATCHES[image // 2]][image % 2, 1024 * colour + 32 * row + column]
        assert train.inputs[image, row, column, colour] == np.float32(byte) / np.float32(255)
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


# --- What comes with scikit-learn. ---


def test_digits():
    inputs, targets = data.digits()
    assert inputs.shape == (1797, 64) and inputs.dtype == np.float32
    assert targets.shape == (1797,) and targets.dtype == np.int32
    assert inputs.min() == 0 and inputs.max() == 1 and np.all(inputs * 16 % 1 == 0)
    assert list(inputs[0, :8] * 16) == [0, 0, 5, 13, 9, 1, 0, 0]
    assert list(np.bincount(targets)) == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_diabetes_is_as_measured():
    inputs, targets = data.diabetes()
    assert inputs.shape == (442, 10) and targets.shape == (442,)
    assert inputs.dtype == targets.dtype == np.float64
    assert list(inputs[0]) == [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
    assert targets[0] == 151 and targets.min() == 25 and targets.max() == 346


@pytest.mark.parametrize("source", [data.digits, data.diabetes])
def test_a_missing_scikit_learn_is_named(source, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert error_of(ImportError, source) == (
        "this data set comes with scikit-learn, which is not there: pip install 'unspool[data]'"
    )


# --- Tables. ---


def write_table(folder, text, encoding="utf-8"):
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_file_becomes_inputs_and_targets(tmp_path):
    text = '\ufeffwidth, price ,"height, cm"\r\n1,2.5,3\r\n\r\n,,\r\n-4e1, 5 ,6.25\r\n'
    path = write_table(tmp_path, text)
    for target, inputs, targets in [
        ("width", [[2.5, 3], [5, 6.25]], [1, -40]),
        ("price", [[1, 3], [-40, 6.25]], [2.5, 5]),
        ("height, cm", [[1, 2.5], [-40, 5]], [3, 6.25]),
    ]:
        table = data.csv(str(path), target)
        assert table.inputs.dtype == table.targets.dtype == np.float64
        np.testing.assert_array_equal(table.inputs, inputs)
        np.testing.assert_array_equal(table.targets, targets)


HEADER = "must begin with a header of at least 2 columns, an input and the target, separated by"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{HEADER} commas, got 0"),
        ("a;b\n1;2\n", f"{HEADER} commas, got 1"),
        ("1,2\n3,4\n", "must begin with a header, got the numbers 1,2"),
        ("a,b,a\n1,2,3\n", "must name each column once, got 'a' twice or more"),
        ("a,b\n\n", "must have at least 1 row below its header, got none"),
        ("a,b\n1,2\n\n3\n", ", line 4 must have 2 cells as the header has, got 1"),
        ("a,b\n1,x\n", ", line 2, column 'b' must be a finite number, got 'x'"),
        ("a,b\n1,2\n,2\n", ", line 3, column 'a' must be a finite number, got ''"),
        ("a,b\n1,nan\n", ", line 2, column 'b' must be a finite number, got 'nan'"),
        ("a,b\n1,inf\n", ", line 2, column 'b' must be a finite number, got 'inf'"),
        # A cell may go on below its line.
        ('a,"b\nc"\n1,2\n3,x\n', r", line 4, column 'b\nc' must be a finite number, got 'x'"),
    ],
)
def test_malformed_csv_files_are_named(text, message, tmp_path):
    path = write_table(tmp_path, text)
    space = "" if message.startswith(",") else " "
    assert error_of(ValueError, lambda: data.csv(path, "a")) == f"{path}{space}{message}"


def test_a_file_that_is_no_csv_file_is_named(tmp_path):
    path = write_table(tmp_path, "a,b\n1,2\n3,é\n", "latin-1")
    message = error_of(ValueError, lambda: data.csv(path, "a"))
    start = f"{path} must be comma-separated text in UTF-8, got something else: "
    assert message.startswith(f"{start}'utf-8' codec can't decode byte 0xe9 in position 10")
    path = write_table(tmp_path, f"a,b\n1,{'2' * 200_000}\n")
    message = error_of(ValueError, lambda: data.csv(path, "a"))
    assert message == f"{start}field larger than field limit (131072)"


def test_a_target_that_is_no_column_is_named(tmp_path):
    path = write_table(tmp_path, "a,b\n1,2\n")
    assert error_of(ValueError, lambda: data.csv(path, "c")) == (
        f"target must be a column of {path}, one of a, b, got 'c'"
    )
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        data.csv(tmp_path / "nowhere.csv", "a")


# --- Parts. ---


def numbered(num_examples):
    """Examples of which the inputs say which they are, and the targets too."""
    numbers = np.arange(num_examples)
    return data.Dataset(np.stack([numbers, numbers], axis=1), 10 * numbers)


@pytest.mark.parametrize(
    ("num_examples", "sizes", "counts"),
    [
        (1797, (1400, 397), [1400, 397]),
        (1797, (1400, 300), [1400, 300]),
        (1797, (1797,), [1797]),
        (1797, (1400, -1), [1400, 397]),
        (1797, (-1, 0.2), [1438, 359]),
        (1797, (0.8, 0.2), [1438, 359]),
        (10, (0.25, 0.25, 0.5), [3, 2, 5]),
        (3, (0.5, 0.5), [2, 1]),
        (7, (1 / 3, 1 / 3, 1 / 3), [2, 3, 2]),
        (10, (0.1, 0.2, 0.7), [1, 2, 7]),
        (6, (0.25, 4), [2, 4]),
        (10, (0.3, 2, -1), [3, 2, 5]),
        (10, (0.3, 0.3), [3, 3]),
    ],
)
def test_parts_are_disjoint_and_as_large_as_asked(num_examples, sizes, counts):
    whole = numbered(num_examples)
    parts = data.split(whole, *sizes)
    assert [len(part.inputs) for part in parts] == counts
    drawn = np.concatenate([part.targets for part in parts])
    assert len(set(drawn.tolist())) == sum(counts) and set(drawn) <= set(whole.targets)
    for part in parts:
        np.testing.assert_array_equal(part.inputs[:, 1] * 10, part.targets)


def test_parts_depend_on_the_seed_alone():
    whole = numbered(50)
    first, again, other = (data.split(whole, 20, 30, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.targets, again.targets)
    assert set(first.targets) != set(other.targets)
    order = 10 * np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(first.targets, order[:20])
    # The first part is the same however the others are cut.
    np.testing.assert_array_equal(data.split(whole, 20, 5)[0].targets, order[:20])


def test_every_example_is_as_likely_in_every_part():
    chosen = np.zeros(10)
    for seed in range(400):
        chosen[data.split(numbered(10), 3, seed=seed)[0].inputs[:, 0]] += 1
    # Each count has mean 120 and variance 400 * 0.3 * 0.7.
    assert np.all(np.abs(chosen - 120) < 4 * np.sqrt(84))


LEGAL = "must be an integer of at least 1, a fraction between 0 and 1, or -1 for the rest, got"
PART = "must leave its part at least 1 of 10 examples, got"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((), "sizes must name at least 1 size, got none"),
        ((5, 0), f"sizes[1] {LEGAL} 0"),
        ((-2,), f"sizes[0] {LEGAL} -2"),
        ((1.0,), f"sizes[0] {LEGAL} 1.0"),
        ((5, 2.5), f"sizes[1] {LEGAL} 2.5"),
        ((-0.5,), f"sizes[0] {LEGAL} -0.5"),
        ((float("nan"),), f"sizes[0] {LEGAL} nan"),
        ((-1, 5, -1), "sizes may have -1 for the rest once, got -1, 5, -1"),
        (
            (5, 6),
            "sizes must come to at most the 10 examples of the data set together, got 5, 6, which "
            "come to 11",
        ),
        (
            (0.5, 6),
            "sizes must come to at most the 10 examples of the data set together, got 0.5, 6, "
            "which come to 11",
        ),
        ((10, -1), f"sizes[1] {PART} -1 of 10, -1"),
        ((5, 0.01), f"sizes[1] {PART} 0.01 of 5, 0.01"),
    ],
)
def test_illegal_sizes_are_named(sizes, message):
    assert error_of(ValueError, lambda: data.split(numbered(10), *sizes)) == message


def test_illegal_seeds_and_data_sets_are_named():
    assert error_of(ValueError, lambda: data.split(numbered(10), 5, seed=-1)) == (
        "seed must be an integer of at least 0, got -1; the nearest legal value is 0"
    )
    legal = "must have at least 1 example, on the first axis of its inputs and of its targets alike"
    uneven = data.Dataset(np.zeros((3, 2)), np.zeros(2))
    assert error_of(ValueError, lambda: data.split(uneven, 1)) == (
        f"dataset {legal}, got inputs of the shape (3, 2) and targets of the shape (2,)"
    )
    empty = data.Dataset(np.zeros((0, 2)), np.zeros(0))
    assert error_of(ValueError, lambda: data.standardise(numbered(3), empty)) == (
        f"others[0] {legal}, got inputs of the shape (0, 2) and targets of the shape (0,)"
    )


# --- One scale. ---


def table_of(inputs):
    return data.Dataset(np.asarray(inputs), np.arange(len(inputs)))


def test_features_are_scaled_by_the_first_data_set():
    first = table_of([[0.0, 10.0], [2.0, 30.0]])
    second = table_of([[1.0, 20.0], [4.0, -20.0]])
    scaled, other = data.standardise(first, second)
    np.testing.assert_array_equal(scaled.inputs, [[-1, -1], [1, 1]])
    np.testing.assert_array_equal(other.inputs, [[0, 0], [3, -4]])
    for before, after in ((first, scaled), (second, other)):
        np.testing.assert_array_equal(before.targets, after.targets)
    # Neither the number of the others nor what is in them matters to the first.
    (alone,) = data.standardise(first)
    np.testing.assert_array_equal(alone.inputs, scaled.inputs)
    np.testing.assert_array_equal(first.inputs, [[0, 10], [2, 30]])


@pytest.mark.parametrize("shape", [(20, 5, 4), (20, 5, 4, 3)], ids=["grey", "colour"])
def test_images_are_scaled_by_one_mean_over_all_pixels(shape):
    images = table_of(RANDOM.uniform(size=shape).astype(np.float32))
    (scaled,) = data.standardise(images)
    assert scaled.inputs.dtype == np.float32
    exact = images.inputs.astype(np.float64)
    expected = (exact - exact.mean()) / exact.std()
    np.testing.assert_allclose(scaled.inputs, expected, rtol=1e-4, atol=1e-6)
    # A mean for each pixel would have made all of these zero.
    assert np.max(np.abs(scaled.inputs.mean(axis=0))) > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_features_stay_at_zero(dtype):
    """Also where their mean after rounding is not quite themselves, as that of ten times 0.1."""
    inputs = np.stack([np.full(10, 0.1), np.arange(10)], axis=1).astype(dtype)
    later = np.array([[0.6, 4.5]], dtype)
    scaled, other = data.standardise(table_of(inputs), table_of(later))
    assert scaled.inputs.dtype == other.inputs.dtype == dtype
    assert np.all(scaled.inputs[:, 0] == 0)
    np.testing.assert_allclose(other.inputs, [[0.5, 0]], rtol=1e-6)
    (black,) = data.standardise(table_of(np.full((2, 3, 3), 0.7, dtype)))
    assert np.all(black.inputs == 0)


def test_integers_and_single_features_are_scaled():
    (scaled,) = data.standardise(table_of(np.array([1, 3, 5, 7])))
    np.testing.assert_allclose(scaled.inputs, np.array([-3, -1, 1, 3]) / np.sqrt(5))
    (pixels,) = data.standardise(table_of(np.array([[0], [255]], np.uint8)))
    assert pixels.inputs.dtype == np.float32 and list(pixels.inputs[:, 0]) == [-1, 1]


def test_many_examples_lose_no_digits():
    """Summed in float32, a column far from zero would have lost its third digit."""
    inputs = (1000 + RANDOM.normal(size=(200_000, 2))).astype(np.float32)
    (scaled,) = data.standardise(table_of(inputs))
    exact = scaled.inputs.astype(np.float64)
    # What is left is the rounding of 1000 itself, half of 2 to the power of -14.
    np.testing.assert_allclose(exact.mean(axis=0), 0, atol=2**-15)
    np.testing.assert_allclose(exact.std(axis=0), 1, rtol=2**-15)


def test_inputs_that_do_not_fit_are_named():
    first, wide = table_of(np.eye(3)), table_of(np.ones((2, 4)))
    assert error_of(ValueError, lambda: data.standardise(first, first, wide)) == (
        "others[1] must have inputs of the shape (3,) as the first data set has, got (4,)"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_named(value):
    inputs = np.eye(3)
    inputs[2, 1] = value
    assert error_of(ValueError, lambda: data.standardise(table_of(inputs))) == (
        f"dataset must have finite inputs, got {value} at (2, 1) (counted from 0)"
    )
