"""Trees of arrays as files: written whole or not at all, read back bit by bit."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

# The member that says what the others are, where NumPy's own format cannot.
_KINDS = "kinds"
_IMPLEMENTATIONS = "threefry2x32", "rbg", "unsafe_rbg"


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read, or does not fit what it is read into."""


class _Stored(NamedTuple):
    """An array in numbers that NumPy has, and what it is, if it is something else.

    `kind` is the name of a type whose bits the numbers are, or `key` and a generator's name.
    """

    array: np.ndarray
    kind: str | None


def save_checkpoint(path: Path, tree: PyTree) -> None:
    """Writes all arrays of a tree, typed keys included, to an `.npz` file, whole or not at all.

    **Raises:** `CheckpointError` if a leaf could not be read back, being no array for instance, or
    if the file cannot be written; what was there before is kept.

    **Example:**

    >>> from pathlib import Path
    >>> tree = {"weights": jnp.arange(3.0), "key": jax.random.key(0)}
    >>> unspool.save_checkpoint(Path("tree.npz"), tree)
    """
    stored: dict[str, _Stored] = {}
    for name, leaf in _named_leaves(tree):
        shown = f"the leaf {name or 'that is the tree'} cannot be saved"
        if name in stored:
            raise CheckpointError(f"{shown}: another one has this name when written down")
        try:
            stored[name] = _store(leaf)
            same = _store(_restore(stored[name], leaf)).array.tobytes()
        except Exception as error:
            raise CheckpointError(f"{shown}: {error}") from error
        if same != stored[name].array.tobytes():
            raise CheckpointError(f"{shown}: a {leaf.dtype} comes back as something else")
    kinds = {name: one.kind for name, one in stored.items() if one.kind is not None}
    members = {name: one.array for name, one in stored.items()}
    if kinds:
        members[_KINDS] = np.frombuffer(json.dumps(kinds).encode(), np.uint8)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **members)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load_checkpoint(path: Path, like: PyTree) -> PyTree:
    """Reads a tree of arrays from a file that `save_checkpoint` wrote.

    Returns a tree of the structure, shapes and types of `like` (arrays or their shapes), whose
    arrays have the bits that were saved.

    **Raises:** `CheckpointError` if the file cannot be read or holds something else.

    **Example**, after that of `save_checkpoint`:

    >>> print(unspool.load_checkpoint(Path("tree.npz"), like=tree)["weights"])
    [0. 1. 2.]
    """
    try:
        found = _read(path)
    except Exception as error:  # A damaged file can make NumPy and zipfile raise anything.
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {type(error).__name__}: {error}"
        ) from error
    wanted = _named_leaves(like)
    missing = [name for name, _ in wanted if name not in found]
    surplus = sorted(set(found) - {name for name, _ in wanted})
    if missing or surplus:
        raise CheckpointError(
            f"the checkpoint {path} is of another run: "
            + (f"it lacks {missing[0]}" if missing else f"nothing wants its {surplus[0]}")
        )
    leaves = []
    for name, leaf in wanted:
        array, kind = found[name]
        try:
            leaves.append(_restore(found[name], leaf))
        except Exception as error:
            there = array.dtype if kind is None else kind
            raise CheckpointError(
                f"the checkpoint {path} is of another run: {name} is {there}"
                f"{list(array.shape)} there, and must be {leaf.dtype}{list(leaf.shape)}"
            ) from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(path: Path) -> dict[str, _Stored]:
    arrays = {}
    with zipfile.ZipFile(path) as file:
        for member in file.namelist():
            # Read to its end, where its checksum is compared.
            content = io.BytesIO(file.read(member))
            array = np.lib.format.read_array(content, allow_pickle=False)
            if content.read(1):
                raise ValueError(f"{member} is longer than it says")
            arrays[member.removesuffix(".npy")] = array
    kinds = json.loads(arrays.pop(_KINDS, np.frombuffer(b"{}", np.uint8)).tobytes())
    return {name: _Stored(array, kinds.get(name)) for name, array in arrays.items()}


def _named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path).replace("/", "|"), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _store(leaf: Any) -> _Stored:
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        raise TypeError(f"it must be an array, got a {type(leaf).__name__}")
    if isinstance(leaf, jax.Array) and _is_key(leaf):
        return _Stored(np.asarray(jax.random.key_data(leaf)), f"key {jax.random.key_impl(leaf)}")
    array = np.asarray(leaf)
    if array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1:
        return _Stored(array, None)
    if array.dtype.hasobject or array.dtype.kind in "SUMm" or array.dtype.names:
        raise TypeError(f"JAX has no {array.dtype}")
    # A type that NumPy does not know by itself, such as bfloat16: its bits.
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)
    return _Stored(bits, array.dtype.name)


def _restore(stored: _Stored, like: Any) -> Any:
    """The array that was stored.

    **Raises:** an error of any kind if it is not like this one.
    """
    array, kind = stored
    if _is_key(like):
        implementation = _implementation(like.dtype) if kind is None else kind.split()[1]
        value = jax.random.wrap_key_data(jax.device_put(array), impl=implementation)
    else:
        if kind is not None:
            if kind != like.dtype.name:
                raise TypeError(f"{kind} is not {like.dtype}")
            array = array.view(like.dtype)
        value = array if isinstance(like, (np.ndarray, np.generic)) else jax.device_put(array)
    if value.shape != like.shape or value.dtype != like.dtype:
        raise TypeError(f"{value.dtype}{value.shape} is not {like.dtype}{like.shape}")
    return value


def _implementation(dtype: Any) -> str:
    """The generator of a type of keys: older checkpoints do not name it."""
    known = {
        jax.eval_shape(lambda name=name: jax.random.key(0, impl=name)).dtype: name
        for name in _IMPLEMENTATIONS
    }
    return known[dtype]
