"""Optimizers of optax in a training: how they are called, and which are refused."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import optax.contrib

from . import _rows as rows
from ._custom_types import Params, Scalar


class Told(NamedTuple):
    """The extra arguments of optax that an optimizer may take.

    - `value`: the loss of the estimate.
    - `stats`: its statistics.
    - `sigma`: the scale of the noise that is drawn now, a number or a tree; `None` where nothing is
      perturbed.
    - `num_windows`: windows of an episode, each of which has an update.
    - `pace`: the scale that steps of `scale_by_sigma` follow, which is `sigma` by default.
    """

    value: Any
    stats: dict[str, Any]
    sigma: Any
    num_windows: int
    pace: Any = None


class RatedOptimizer(eqx.Module):
    """An optimizer whose learning rate is an input of a compiled program, and no part of it.

    - `make`: makes the optimizer, or its like with another learning rate.
    - `learning_rate`: the rate.
    """

    make: Callable[[Any], optax.GradientTransformation] = eqx.field(static=True)
    learning_rate: Scalar

    @property
    def made(self) -> optax.GradientTransformation:
        """The optimizer with this rate."""
        return self.make(self.learning_rate)

    def init(self, params: Params) -> optax.OptState:
        return self.made.init(params)

    def update(self, updates: Params, state: optax.OptState, params: Any = None, **extra: Any):
        return optax.with_extra_args_support(self.made).update(updates, state, params, **extra)


AnyOptimizer = optax.GradientTransformation | optax.MultiSteps | RatedOptimizer
"""Any optimizer of optax, or of the same form."""


def as_optimizer(optimizer: Any) -> optax.GradientTransformation:
    """An optimizer as optax's other functions take it.

    **Raises:** `ValueError` for something else: a function or a class not called yet, for example.
    """
    if isinstance(optimizer, RatedOptimizer):
        return optimizer.made
    if isinstance(optimizer, optax.MultiSteps):
        return optimizer.gradient_transformation()
    parts = (getattr(optimizer, name, None) for name in ("init", "update"))
    if not isinstance(optimizer, type) and all(map(callable, parts)):
        return optimizer
    called = isinstance(optimizer, type) or inspect.isroutine(optimizer)
    name = getattr(optimizer, "__name__", "")
    raise ValueError(
        f"optimizer must be an optax optimizer, such as optax.adam(1e-3), got {optimizer!r}"
        + (f" (not called yet: {name}(...) makes one)" if called else "")
    )


def start_optimizer(
    optimizer: optax.GradientTransformation, params: Params, told: Told
) -> optax.OptState:
    """The state before the first update. It shares no buffer with the parameters.

    `told` are the shapes of the extra arguments of `apply_optimizer`.

    **Raises:** `ValueError` if the optimizer cannot make updates of that.
    """
    try:
        state = rows.strip_weak_type(optimizer.init(params))
        known = told.num_windows

        def apply(grad, state, params, told):
            told = told._replace(num_windows=known)
            return apply_optimizer(optimizer, grad, state, params, told)

        jax.eval_shape(apply, params, state, params, told._replace(num_windows=None))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"optimizer cannot train these parameters ({reason}); one that needs no more than a "
            "gradient and the loss would work, such as optax.adam(1e-3)"
        ) from error
    return jax.tree.map(jnp.copy, state)


class Moved(NamedTuple):
    """New parameters, the optimizer's state after them, and what was added to the old ones."""

    params: Params
    state: optax.OptState
    updates: Params


def apply_optimizer(
    optimizer: optax.GradientTransformation,
    grad: Params,
    state: optax.OptState,
    params: Params,
    told: Told,
) -> Moved:
    """New parameters and the state after them, both of the types they had.

    An optimizer gets those of the extra arguments that it takes.
    """
    accepts = inspect.signature(optimizer.update).parameters
    several = any(x.kind is inspect.Parameter.VAR_KEYWORD for x in accepts.values())
    given = {name: value for name, value in told._asdict().items() if several or name in accepts}
    updates, new = optimizer.update(grad, state, params, **given)
    for step, x in zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True):
        if step.shape != x.shape:
            raise ValueError(f"an update is of shape {step.shape}, its parameters of {x.shape}")
    return Moved(
        params=optax.apply_updates(params, updates),
        state=jax.tree.map(_as_before, new, state),
        updates=updates,
    )


def _as_before(new: Any, old: Any) -> Any:
    """A float in the precision that it had; moments are often made in that of something else."""
    new = jnp.asarray(new)
    floats = all(jnp.issubdtype(x.dtype, jnp.floating) for x in (new, old))
    return new.astype(old.dtype) if floats else new


def evaluation_params(state: optax.OptState, params: Params) -> Params:
    """The parameters that an optimizer recommends, where it trains others.

    Schedule-free optimizers take gradients between an average and their newest iterate, and mean
    the average; sharpness-aware ones take them near the parameters that they mean.
    """
    kinds = optax.contrib.ScheduleFreeState, optax.contrib.SAMState
    is_one = lambda x: isinstance(x, kinds)
    for found in filter(is_one, jax.tree.leaves(state, is_leaf=is_one)):
        if isinstance(found, optax.contrib.ScheduleFreeState):
            params = _choose(optax.contrib.schedule_free_eval_params, found, "z", params)
        elif found.cache is not None:
            params = _choose(_leave_out_perturbation, found, "cache", params)
    return params


def _leave_out_perturbation(state: optax.contrib.SAMState, params: Params) -> Params:
    away = state.steps_since_sync != 0
    return jax.tree.map(lambda kept, x: jnp.where(away, kept, x), state.cache, params)


def _choose(choose, state, field: str, params: Params) -> Params:
    """Leaf by leaf, for of a partition's parameters a state may hold some alone."""
    masked = lambda x: isinstance(x, optax.MaskedNode)

    def one(held, x):
        return x if masked(held) else choose(state._replace(**{field: held}), x).astype(x.dtype)

    return jax.tree.map(one, getattr(state, field), params, is_leaf=masked)
