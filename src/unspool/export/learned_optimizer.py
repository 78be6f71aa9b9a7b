"""A learned optimizer as an optax optimizer, for any training loop."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._custom_types import IntScalar, Params
from .._params import as_arrays, map_arrays, split
from .._random import seeded_key
from ..problems.learned_optimizer import AbstractLearnedOptimizer


class OptimizerState(NamedTuple):
    """State of a learned optimizer in optax: a plain pytree of arrays, fit for any checkpoint.

    - `count`: steps made so far.
    - `optimizer`: the learned optimizer's own state.
    """

    count: IntScalar  # pyright: ignore[reportIncompatibleMethodOverride]
    optimizer: Any


def as_optax(optimizer: AbstractLearnedOptimizer, params: Params) -> optax.GradientTransformation:
    """Makes an optax optimizer of a learned optimizer and its meta-trained parameters.

    It goes into `optax.chain` like any other, and its steps are those of meta-training: there is no
    learning rate to set. Updates have the types of their weights. What lies between is computed in
    the widest type of parameters and weights, so that for weights in half precision the state is
    kept in single precision.

    **Arguments:**

    - `optimizer`: the learned optimizer.
    - `params`: its parameters, such as a `Record`'s of training `OptimizerTraining`.

    **Raises:** `ValueError` for parameters that are not this optimizer's. The transformation's
    `update` raises it if it is called without weights.

    **Example:**

    >>> from unspool import export
    >>> from unspool.problems.learned_optimizer import LearnedSGD
    >>> learned, weights = LearnedSGD(learning_rate=0.5), jnp.zeros(2)
    >>> params = learned.init_params(key=jax.random.key(0))  # or a `Record`'s, after meta-training
    >>> transformation = export.as_optax(learned, params)
    >>> state = transformation.init(weights)
    >>> updates, state = transformation.update(jnp.ones(2), state, weights)
    >>> print(jnp.round(optax.apply_updates(weights, updates), 3))
    [-0.5 -0.5]
    """
    check_params(optimizer, params)
    own = map_arrays(jnp.asarray, params)
    trained, _ = split(own)

    def widen(tree: Any, weights: Any) -> Any:
        kind = jnp.result_type(*jax.tree.leaves(trained), *jax.tree.leaves(weights))
        return jax.tree.map(lambda x: jnp.asarray(x, kind), tree)

    # The names are optax's, whose parameters are what is trained.
    def init(params: Any) -> Any:
        return OptimizerState(jnp.zeros((), jnp.int32), optimizer.init(widen(params, params)))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if params is None:
            raise ValueError(
                "params must be the weights, which a learned optimizer looks at, got None: call "
                "update(gradients, state, weights)"
            )
        weights, gradients = widen(params, params), widen(updates, params)
        steps, after = optimizer.update(own, gradients, state.optimizer, weights, state.count)
        steps = jax.tree.map(lambda step, w: jnp.asarray(step, w.dtype), steps, params)
        return steps, OptimizerState(jnp.asarray(optax.safe_increment(state.count)), after)

    return optax.GradientTransformation(init, update)


def check_params(optimizer: AbstractLearnedOptimizer, params: Params) -> None:
    """Raises `ValueError` if these parameters are not this optimizer's."""
    wanted, given = shapes(expected_params(optimizer)), shapes(params)
    if wanted == given:
        return
    differing = [n for n in [*wanted, *given] if wanted.get(n) != given.get(n)]
    name = differing[0] if differing else "their order"
    raise ValueError(
        f"params must be those of {type(optimizer).__name__}: {name} must be "
        f"{_format_shape(wanted, name)}, got {_format_shape(given, name)}"
    )


def expected_params(optimizer: AbstractLearnedOptimizer) -> Any:
    """The optimizer's parameters, of which only structure, shapes and types are known."""
    key = jax.eval_shape(lambda: seeded_key(0))
    return eqx.filter_eval_shape(lambda key: as_arrays(optimizer.init_params(key=key)), key)


def named_leaves(params: Params) -> dict[str, Any]:
    """The arrays of a tree by their paths, `layer0.bias`, in the order of its leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    found = [(path, leaf) for path, leaf in leaves if is_array(leaf)]
    paths = [path for path, _ in found]
    names = [jax.tree_util.keystr(path, simple=True, separator=".") or "params" for path in paths]
    if len(set(names)) < len(names):
        names = [jax.tree_util.keystr(path) for path in paths]
    return dict(zip(names, [leaf for _, leaf in found], strict=True))


def is_array(leaf: Any) -> bool:
    """True if a leaf is an array, or the shape and type of one."""
    return hasattr(leaf, "dtype")


def shapes(params: Params) -> dict[str, tuple[int, ...]]:
    """The shapes of a tree's arrays by their paths."""
    return {name: np.shape(leaf) for name, leaf in named_leaves(params).items()}


def _format_shape(known: dict[str, tuple[int, ...]], name: str) -> str:
    return f"of shape {list(known[name])}" if name in known else "left out"
