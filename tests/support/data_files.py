"""Small files in the formats of MNIST and CIFAR-10."""

import gzip
import struct

import numpy as np

RANDOM = np.random.default_rng(0)

IMAGES = {"train": RANDOM.integers(0, 256, (3, 28, 28)), "t10k": np.full((2, 28, 28), 51)}
LABELS = {"train": np.array([9, 0, 4]), "t10k": np.array([1, 2])}

FOLDER = "cifar-10-batches-py"
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
    """The six batches, with these contents."""
    (folder / FOLDER).mkdir(parents=True)
    for name, content in contents.items():
        (folder / FOLDER / name).write_bytes(content)


def idx(array):
    """An array of bytes in the format of MNIST."""
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
