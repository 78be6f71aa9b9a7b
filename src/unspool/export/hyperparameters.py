"""Tuned hyperparameters as optax schedules and optimizers, and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._custom_types import Params
from ..problems.schedules import AbstractSchedule, Constant, ModelTraining, PerTensor
from ..records.files import write_text

_FORMAT = 1
Schedule = Callable[[Any], Any]


def schedules(problem: ModelTraining, params: Params) -> dict[str, Any]:
    """Makes optax schedules of tuned hyperparameters: functions of the number of steps made.

    **Arguments:**

    - `problem`: the training that was tuned.
    - `params`: what tuning arrived at, such as a `Record`'s.

    **Returns:** a schedule for each name; for one of `PerTensor` a dictionary of schedules by the
    tensor's name, for one of `PerGroup` a schedule of vectors. After the horizon the last value of
    the run holds.

    **Example:**

    >>> from unspool import export
    >>> from unspool.problems.schedules import Data, Linear, Model, ModelTraining
    >>> model = Model(lambda key: jnp.array(4.0), lambda w, batch: jnp.mean((w - batch) ** 2))
    >>> space = {"learning_rate": Linear(first=0.5, last=0.1)}
    >>> problem = ModelTraining(model, Data(jnp.zeros(3)), optax.sgd, space, horizon=100)
    >>> params = problem.init_params(key=jax.random.key(0))  # or those that were tuned
    >>> schedule = export.schedules(problem, params)["learning_rate"]
    >>> print(f"{schedule(0):.2f} {schedule(50):.2f}")
    0.50 0.30
    """

    def at(name: str, index: int | None = None) -> Schedule:
        def schedule(count):
            t = jnp.minimum(count, problem.horizon - 1)
            hyper, of_model = problem.hyper(params, t)
            value = (hyper | of_model)[name]
            return value if index is None else value[index]

        return schedule

    found: dict[str, Any] = {}
    for name, entry in (problem.space | problem.model.space).items():
        if isinstance(entry, PerTensor):
            found[name] = {tensor: at(name, i) for i, tensor in enumerate(problem.tensors)}
        else:
            found[name] = at(name)
    return found


def optimizer(problem: ModelTraining, params: Params) -> optax.GradientTransformation:
    """Makes an optax optimizer with the tuned hyperparameters, for any training loop.

    It is `optax.inject_hyperparams` of the problem's `make_optimizer`, so that the values in use
    stand in the state's `hyperparams`; with hyperparameters of `PerTensor` it is an
    `optax.partition` of such, for weights of the problem's structure.

    **Arguments:** as for `schedules`.

    **Example**, after that of `schedules`:

    >>> tuned = export.optimizer(problem, params)
    >>> weights = jnp.array(4.0)
    >>> updates, state = tuned.update(jnp.array(1.0), tuned.init(weights), weights)
    >>> print(f"{updates:.2f}")
    -0.50
    """
    found = schedules(problem, params)
    hyper = {
        name: list(found[name].values()) if isinstance(found[name], dict) else found[name]
        for name in problem.space
    }
    return problem.optimizer(hyper, optax.inject_hyperparams)


def save(problem: ModelTraining, params: Params, path: Path | str) -> None:
    """Writes tuned hyperparameters to a JSON file, whole or not at all.

    For every name: the family, the numbers in their own units, and the value at every step (a
    single one if it is constant), which is all that another program needs.

    **Arguments:** as for `schedules`; `path` is the file.

    **Example**, after that of `schedules`:

    >>> export.save(problem, params, "tuned.json")
    """
    steps = jnp.arange(problem.horizon)
    tables = jax.vmap(lambda t: problem.hyper(params, t))(steps)
    values = jax.device_get(tables[0] | tables[1])
    natural = jax.device_get(problem.natural_units(params))
    entries = {}
    for name, entry in (problem.space | problem.model.space).items():
        family = entry if isinstance(entry, AbstractSchedule) else entry.schedule
        table = values[name][0] if isinstance(family, Constant) else values[name]
        saved = {
            "of": "optimizer" if name in problem.space else "model",
            "family": type(family).__name__,
            "numbers": _plain(natural[name]),
        }
        if isinstance(entry, PerTensor):
            each = np.moveaxis(table, -1, 0)
            saved["values"] = {n: _plain(v) for n, v in zip(problem.tensors, each, strict=True)}
        else:
            saved["values"] = _plain(table)
        entries[name] = saved
    contents = {"format": _FORMAT, "horizon": problem.horizon, "hyperparameters": entries}
    write_text(Path(path), json.dumps(contents, indent=1) + "\n")


def load_schedules(path: Path | str) -> dict[str, Any]:
    """Reads schedules from a file that `save` wrote.

    Returns them as `schedules` does: functions of the number of steps made, by name.

    **Raises:** `ValueError` if the file is none of these.

    **Example**, after that of `save`:

    >>> schedule = export.load_schedules("tuned.json")["learning_rate"]
    >>> print(f"{schedule(50):.2f}")
    0.30
    """
    path = Path(path)
    try:
        contents = json.loads(path.read_text())
        entries = contents["hyperparameters"]
        version, horizon = contents["format"], contents["horizon"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a file of tuned hyperparameters: {error!r}") from error
    if version != _FORMAT:
        raise ValueError(f"{path} must have format {_FORMAT}, got {version}")

    def read(family: str, values: Any) -> Any:
        if isinstance(values, dict):
            return {tensor: read(family, of_tensor) for tensor, of_tensor in values.items()}
        table = jnp.asarray(values, jnp.result_type(float))
        if family == "Constant":
            return lambda count: table
        return lambda count: table[jnp.minimum(count, horizon - 1)]

    return {name: read(entry["family"], entry["values"]) for name, entry in entries.items()}


def _plain(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x).tolist(), tree)
