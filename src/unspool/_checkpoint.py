"""Trees of arrays as files: written whole or not at all, read back bit by bit."""

import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read, or does not fit what it is read into."""


def save_checkpoint(path: Path, tree: PyTree) -> None:
    """Writes all arrays of a tree, typed keys included, to an `.npz` file.

    **Raises:** `CheckpointError` if the file cannot be written; what was there before is kept.
    """
    arrays = {name: _as_numpy(leaf) for name, leaf in _named_leaves(tree)}
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load_checkpoint(path: Path, like: PyTree) -> PyTree:
    """Reads a tree of the structure, shapes and types of `like` (arrays or their shapes).

    **Raises:** `CheckpointError` if the file cannot be read or holds something else.
    """
    try:
        with open(path, "rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    wanted = _named_leaves(like)
    missing = [name for name, _ in wanted if name not in arrays]
    surplus = sorted(set(arrays) - {name for name, _ in wanted})
    if missing or surplus:
        raise CheckpointError(
            f"the checkpoint {path} is of another run: "
            + (f"it lacks {missing[0]}" if missing else f"nothing wants its {surplus[0]}")
        )
    leaves = [_from_numpy(path, name, arrays[name], leaf) for name, leaf in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path).replace("/", "|"), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _as_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _from_numpy(path: Path, name: str, array: np.ndarray, like: Any) -> Any:
    value = jax.random.wrap_key_data(jnp.asarray(array)) if _is_key(like) else jnp.asarray(array)
    if value.shape != like.shape or value.dtype != like.dtype:
        raise CheckpointError(
            f"the checkpoint {path} is of another run: {name} is {value.dtype}{list(value.shape)} "
            f"there, and must be {like.dtype}{list(like.shape)}"
        )
    return value
