"""What `unspool.data` exports, the data sets of scikit-learn, and tables from CSV files."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from support.data import error_of
from unspool import data


def test_importing_reads_no_file_and_needs_no_scikit_learn():
    program = """
import sys
import unspool

unspool.train  # All that the library itself imports is there now.

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
        "Dataset Splits cifar10 csv diabetes digits fashion_mnist mnist resize split standardize "
        "text".split()
    )
    for name, value in public.items():
        first = value.__doc__.partition("\n")[0]
        assert first.endswith(".") and len(first) > 30, name
    for source in (data.fashion_mnist, data.mnist, data.cifar10, data.digits, data.diabetes):
        assert "Source: " in source.__doc__


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
