"""The parts of an estimator as settings name them, those that it has by default among them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx

from .._describe import describe
from .._estimator import AbstractEstimator
from .._estimator.automatic_directions import AutomaticDirections
from .._estimator.perturbed import AbstractPerturbed
from .._joint import JointProblem
from .._random import seeded_key
from .errors import noting
from .names import PARTS, is_exported
from .train_config import Spec


def choose_directions(estimator: AbstractEstimator, joint: JointProblem) -> AbstractEstimator:
    """The estimator, with the directions that it draws for the problem's parameters."""
    is_open = isinstance(getattr(estimator, "directions", None), AutomaticDirections)
    if not (is_open and isinstance(estimator, AbstractPerturbed)):
        return estimator
    with noting("in the problem"):
        params = eqx.filter_eval_shape(lambda: joint.init_params(key=seeded_key(0)))
    first, *others = (estimator.tableau_for(each, params).directions for each in joint.engines)
    # Where problems have different ones, each has its own, chosen anew.
    same = all(each == first for each in others)
    return dataclasses.replace(estimator, directions=first) if same else estimator


def name_parts(spec: Spec, estimator: AbstractEstimator) -> Spec:
    """The settings of an estimator with all parts named, so that a later default changes nothing.

    A part whose class the library does not export is named only if the settings do.
    """
    parts = {name: getattr(estimator, name, None) for name in PARTS}
    named = {name: _as_spec(describe(x)) for name, x in parts.items() if is_exported(type(x))}
    return Spec(spec.name, spec.options | named)


def with_parts_of(spec: Spec, described: Mapping[str, Any]) -> Spec:
    """The settings of an estimator with those parts named that its description has beside them."""
    if not spec.options:  # A ready object, which has its parts.
        return spec
    there = {name: described[name] for name in PARTS if name in described}
    named = {name: _as_spec(part) for name, part in there.items() if is_exported(part["name"])}
    return Spec(spec.name, named | spec.options)


def _as_spec(described: Mapping[str, Any]) -> dict[str, Any]:
    """The table that makes a part again."""
    # What is `None` is so by default, and TOML has no word for it.
    options = {name: value for name, value in described["options"].items() if value is not None}
    return {"name": f"unspool:{described['name']}", "options": options}
