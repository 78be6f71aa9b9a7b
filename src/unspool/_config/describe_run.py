"""Descriptions of a training in words and numbers, as `config.json` holds them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._citation import references
from .._custom_types import Params
from .._describe import describe, environment
from .._joint import JointProblem
from .._params import split
from .build import Training
from .load_object import fingerprint
from .names import find
from .options import find_options
from .train_config import TrainConfig, is_spec, to_data

_MAX_NAMED = 32


def describe_run(training: Training, params: Params) -> dict[str, Any]:
    """The entries of `config.json` that reports read."""
    config, estimator = training.config, describe(training.estimator)
    typed = {k: v for k, v in config.estimator.options.items() if not is_spec(v)}
    if config.anneal is not None:
        typed.pop("sigma", None)
    estimator["options"] |= typed
    trained, _ = split(params)
    num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(trained))
    is_short = num_params <= _MAX_NAMED
    return {
        "label": config.label or estimator["name"],
        "seed": config.seed,
        "problem": describe(_plain(training.joint)),
        "estimator": estimator | {"estimand": training.estimator.estimand},
        "optimizer": describe_optimizer(config),
        "num_updates": config.num_updates,
        "num_params": num_params,
        "parameter_names": name_logged(_plain(training.joint), trained) if is_short else None,
        "float64": jnp.result_type(float) == jnp.float64,
        "environment": environment(),
        "references": references(training.estimator),
    }


def describe_optimizer(config: TrainConfig) -> dict[str, Any]:
    """The optimizer's name, and those of its options that are not optax's defaults."""
    name = config.optimizer.name.rpartition(":")[2]
    options = dict(config.optimizer.options)
    if config.optimizer.name.startswith("optax"):
        function = find("optimizer", config.optimizer.name, Path()).thing
        usual = {option.name: option.default for option in find_options(function)}
        options = {k: v for k, v in options.items() if k == "learning_rate" or v != usual.get(k)}
    if config.schedule is not None:
        schedule = config.schedule.name.rpartition(":")[2]
        options["schedule"] = {"name": schedule, "options": config.schedule.options}
    if config.clip_norm is not None:
        options["clip_norm"] = config.clip_norm
    if config.anneal is not None:
        options["drift"] = config.anneal.drift
    return {"name": name, "options": options}


def name_logged(problem: Any, params: Params) -> list[str]:
    """The names of parameters as they are logged: `log rate` for the logarithm of a rate.

    A problem with `coordinate_names` says what each is of what it is named after.
    """
    names = name_entries(params)
    patterns = getattr(problem, "coordinate_names", None)
    if patterns is None or jax.tree.structure(patterns) != jax.tree.structure(params):
        return names
    pairs = zip(jax.tree.leaves(patterns), jax.tree.leaves(params), strict=True)
    each = [pattern for pattern, leaf in pairs for _ in range(np.size(leaf))]
    return [pattern.format(name) for pattern, name in zip(each, names, strict=True)]


def name_entries(params: Params, root: str = "") -> list[str]:
    """A name for every number in a tree, in the order of its leaves."""
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        own = jax.tree_util.keystr(path, simple=True, separator=".")
        name = ".".join(filter(None, (root, own))) or "params"
        for index in np.ndindex(np.shape(leaf)):
            names.append(name + "".join(f"[{i}]" for i in index))
    return names


def fingerprints(training: Training) -> dict[str, str]:
    """A digest of every file of the user's that the settings name."""
    names: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if is_spec(value):
                names.add(value["name"].rpartition(":")[0])
            for item in value.values():
                collect(item)

    collect(to_data(training.config))
    sources = sorted(n for n in names if n.partition(".")[0] not in ("unspool", "optax", ""))
    found = {source: fingerprint(source, training.start) for source in sources}
    return {source: digest for source, digest in found.items() if digest is not None}


def _plain(joint: JointProblem) -> Any:
    """The one problem that there is, without the engine that runs it; or all of them."""
    engine, *others = joint.engines
    return joint if others else getattr(engine, "problem", engine)
