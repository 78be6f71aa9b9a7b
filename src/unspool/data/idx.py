"""The IDX format of MNIST: a magic number, the dimensions, and then the bytes of an array."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, num_dims: int) -> UInt8[np.ndarray, "..."]:
    """The array of unsigned bytes in an IDX file, gzipped or plain, with so many dimensions.

    A file that is anything else, or too short or too long, raises a `ValueError`.
    """
    content = _read(path)
    header_size = 4 * (1 + num_dims)
    if len(content) < header_size:
        raise ValueError(
            f"{path} must begin with a header of {header_size} bytes, got {len(content)} in all"
        )
    magic, *shape = (int(word) for word in np.frombuffer(content, ">u4", 1 + num_dims))
    legal = _UNSIGNED_BYTE << 8 | num_dims
    if magic != legal:
        raise ValueError(
            f"{path} must begin with the magic number {legal}, of unsigned bytes in {num_dims} "
            f"dimensions, got {magic}"
        )
    size = len(content) - header_size
    if size != math.prod(shape):
        raise ValueError(
            f"{path} must have {math.prod(shape)} bytes after its header, as its dimensions "
            f"{' x '.join(map(str, shape))} say, got {size}"
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    # By what is in it, for browsers unpack some files and leave them their names.
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzip file, got a broken one, {len(content)} bytes long; "
            "download it once more"
        ) from error
