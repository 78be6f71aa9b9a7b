"""Unpickling such that nothing can come of it but bytes, numbers and plain containers."""

import pickle
from io import BytesIO

import numpy as np
from jaxtyping import UInt8


def unpickle(content: bytes) -> object:
    """The contents of a pickle, text of Python 2 as bytes and each array as a `PickledArray`.

    A name other than those that NumPy arrays are made of raises `ForbiddenName` before anything of
    that name is imported; a broken pickle can raise any exception.
    """
    return _Unpickler(BytesIO(content), encoding="bytes").load()


class ForbiddenName(Exception):
    """A pickle asks for a name that it may not have."""


class PickledArray:
    """An array of bytes that was pickled, in `values`.

    Put together here, for NumPy's own way back from a pickle trusts what it is told about memory,
    and NumPy 2.4 warns of pickles as old as those of CIFAR-10.
    """

    values: UInt8[np.ndarray, "..."]

    def __init__(self, *_):
        # What comes here is only the beginning of an array: its shape and numbers follow.
        self.values = np.zeros(0, np.uint8)

    def __setstate__(self, state):
        _, shape, kind, is_fortran, content = state
        if not isinstance(kind, _Kind) or kind.code not in (b"u1", "u1"):
            raise ValueError("an array of other things than bytes")
        values = np.frombuffer(content, np.uint8)
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


class _Kind:
    """The kind of the numbers in a pickled array."""

    def __init__(self, code, *_):
        self.code = code

    def __setstate__(self, state):
        # Byte order and the like, of which bytes have none.
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type:
        match module_name, global_name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return PickledArray
            case "numpy", "ndarray":
                return PickledArray
            case "numpy", "dtype":
                return _Kind
        raise ForbiddenName(f"{module_name}.{global_name}")
