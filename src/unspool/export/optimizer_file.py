"""A learned optimizer in one file: its parameters, and what makes an optimizer of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._citation import version
from .._custom_types import Params
from ..problems.learned_optimizer import AbstractLearnedOptimizer, Frozen
from .learned_optimizer import (
    as_optax,
    check_params,
    expected_params,
    is_array,
    named_leaves,
    shapes,
)
from .optimizer_class import (
    OptimizerOrClass,
    class_name,
    field_from_json,
    fields_of,
    make_optimizer,
)

_FORMAT = 1
_ENTRY = "unspool.learned_optimizer"
_KINDS = ("float16", "float32", "float64")
_DESCRIPTION_ERRORS = (KeyError, TypeError, ValueError, RecursionError)


class SavedOptimizer(NamedTuple):
    """A learned optimizer as it was read from a file.

    - `optimizer`: the learned optimizer.
    - `params`: its parameters.
    - `notes`: those that were saved with them.
    """

    optimizer: AbstractLearnedOptimizer
    params: Params
    notes: dict[str, Any]


def save_optimizer(
    optimizer: AbstractLearnedOptimizer,
    params: Params,
    path: Path | str,
    *,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Writes a learned optimizer and its parameters to a file, whole or not at all.

    The format is safetensors, which many programs read: an array for each of the parameters, and in
    the metadata, as JSON, the optimizer's class and fields, the version of the library, and notes.

    **Arguments:**

    - `optimizer`: the learned optimizer, whose fields are plain values. Of a `Frozen` one the whole
      is written, as the optimizer that it is made of.
    - `params`: its parameters.
    - `path`: the file; what was there before is replaced.
    - `notes`: anything that JSON can hold, such as what the optimizer was trained on.

    **Raises:** `ValueError` for parameters that are not this optimizer's, fields that are not
    plain, or notes that JSON cannot hold; `ImportError` without safetensors.

    **Example:**

    >>> from unspool import export
    >>> from unspool.problems.learned_optimizer import LearnedSGD
    >>> learned = LearnedSGD(learning_rate=0.5)
    >>> params = learned.init_params(key=jax.random.key(0))
    >>> export.save_optimizer(learned, params, "sgd.safetensors", notes={"task": "digits"})
    """
    check_params(optimizer, params)
    optimizer, params = unfreeze(optimizer, params)
    arrays = {name: np.array(leaf, order="C") for name, leaf in named_leaves(params).items()}
    for name, array in arrays.items():
        if array.dtype.name not in _KINDS:
            kinds = ", ".join(_KINDS)
            raise ValueError(f"params must be of {kinds}, got {array.dtype.name} in {name}")
    described = {
        "format": _FORMAT,
        "unspool": version(),
        "class": class_name(type(optimizer)),
        "fields": fields_of(optimizer),
        "params": list(arrays),
        "notes": dict(notes or {}),
    }
    try:
        text = json.dumps(described)
    except (TypeError, ValueError) as error:
        raise ValueError(f"notes must be what JSON can hold: {error}") from error
    contents = _safetensors().numpy.save(arrays, {_ENTRY: text})
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def unfreeze(
    optimizer: AbstractLearnedOptimizer, params: Params
) -> tuple[AbstractLearnedOptimizer, Params]:
    """An optimizer and all its parameters, none of them frozen."""
    while isinstance(optimizer, Frozen):
        optimizer, params = optimizer.optimizer, optimizer.full(params)
    return optimizer, params


def load_optimizer(
    path: Path | str, *, optimizer: OptimizerOrClass | None = None
) -> optax.GradientTransformation:
    """Reads a learned optimizer from a file, and returns it as an optax optimizer.

    **Arguments:** as for `read_optimizer`.

    **Raises:** as `read_optimizer`.

    **Example**, after that of `save_optimizer`:

    >>> transformation = export.load_optimizer("sgd.safetensors")
    >>> state = transformation.init(jnp.zeros(2))
    >>> updates, state = transformation.update(jnp.ones(2), state, jnp.zeros(2))
    >>> print(jnp.round(updates, 3))
    [-0.5 -0.5]
    """
    saved = read_optimizer(path, optimizer=optimizer)
    return as_optax(saved.optimizer, saved.params)


def read_optimizer(
    path: Path | str, *, optimizer: OptimizerOrClass | None = None
) -> SavedOptimizer:
    """Reads a learned optimizer from a file, and returns it with its parameters and notes.

    Nothing in the file is run, and nothing is imported because of it: it can name classes of this
    library, and no others.

    **Arguments:**

    - `path`: a file that `save_optimizer` wrote.
    - `optimizer`: what the file was saved of, an instance or its class. Needed if the class is not
      this library's own.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` if it is cut short, none
    of these, or of another optimizer; `ImportError` without safetensors.

    **Example**, after that of `save_optimizer`:

    >>> saved = export.read_optimizer("sgd.safetensors")
    >>> type(saved.optimizer).__name__, sorted(saved.params), saved.notes
    ('LearnedSGD', ['log_rate', 'logit_momentum'], {'task': 'digits'})
    """
    path = Path(path)
    described, arrays = _read(path)
    try:
        name, fields, notes = described["class"], dict(described["fields"]), described["notes"]
        fields = {str(key): field_from_json(value) for key, value in fields.items()}
        names = list(described["params"])
        if not (isinstance(name, str) and isinstance(notes, dict) and set(names) == set(arrays)):
            raise ValueError("its description does not fit its contents")
    except _DESCRIPTION_ERRORS as error:
        raise ValueError(f"{path} must hold a learned optimizer: {error!r}") from error
    found = make_optimizer(path, name, fields, optimizer)
    like, others = eqx.partition(expected_params(found), is_array)
    params = {key: arrays[key] for key in names}
    if (wanted := shapes(like)) != (given := shapes(params)):
        raise ValueError(f"{path} must hold parameters of shapes {wanted}, got {given}")
    leaves = [jnp.asarray(params[key]) for key in wanted]
    read = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return SavedOptimizer(found, eqx.combine(read, others), notes)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description in a file, and its arrays by name."""
    safetensors = _safetensors()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_ENTRY)
            # Other files may hold what NumPy has no type for.
            names = [] if text is None else file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} must be a file that save_optimizer wrote, and is none, or cut short: {error}"
        ) from error
    if text is None:
        raise ValueError(f"{path} must be a file that save_optimizer wrote, and has other contents")
    try:
        described = json.loads(text)
        form = described["format"]
    except _DESCRIPTION_ERRORS as error:
        raise ValueError(f"{path} must hold a learned optimizer: {error!r}") from error
    if form != _FORMAT:
        raise ValueError(
            f"{path} must have format {_FORMAT}, got {form!r}: it is of a newer version"
        )
    return described, arrays


def _safetensors() -> ModuleType:
    # Here and not above: who only trains need not have it.
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "files of learned optimizers need safetensors, which is not there: "
            "pip install 'unspool[export]'",
            name="safetensors",
        ) from error
    return safetensors
