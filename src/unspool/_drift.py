"""Steps in proportion to the scale of the noise: transformations to chain with optax's."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import _rows as rows
from ._custom_types import IntScalar, Params, Scalar
from ._estimator.sigma import root_mean_square, spread_scale

_KEPT = 0.8
"""The share of an episode's drift that still counts after the next."""


def scale_by_sigma() -> optax.GradientTransformationExtraArgs:
    r"""Steps in units of sigma for each episode, for optimizers that normalize their gradients.

    $$ \Delta\theta \leftarrow \frac{\sigma}{n}\, \Delta\theta $$

    with $n$ windows, and so updates, in an episode. Chained after an optimizer whose steps are no
    larger than its learning rate, as those of Adam are but for a small factor, that rate becomes
    the most sigmas that a parameter drifts in an episode. It follows sigma wherever that goes: a
    schedule, or `Annealing`, at whose floor steps go on to become shorter. Sigma may be a tree.

    Steps of plain gradient descent have the size of the gradient, and no such meaning: limit them
    by `clip_by_drift`. So do for many parameters, of which each moves far less than it might.

    **Raises:** `ValueError`, when training begins, if the estimator has no sigma.

    **Example:**

    >>> estimator = unspool.NRES(100, 10, sigma=lambda update: 0.3 * 0.99**update)
    >>> optimizer = optax.chain(optax.adam(0.5), unspool.scale_by_sigma())
    >>> problem = unspool.problems.InfluenceBalancing()
    >>> init, step = unspool.make_step(problem, estimator, optimizer)
    >>> before = init(jnp.array(0.5), key=jax.random.key(0))
    >>> after, _ = jax.jit(step)(before)
    >>> print(f"{before.params - after.params:.4f} of at most {0.5 * 0.3 / 10:.4f}")
    0.0150 of at most 0.0150
    """

    def update(updates, state, params=None, *, pace=None, num_windows=1, **others):
        pace = _as_tree("scale_by_sigma", pace, updates)
        scale = lambda step, sigma: (step * sigma / num_windows).astype(step.dtype)
        return rows.widening(jax.tree.map)(scale, updates, pace), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


class DriftState(NamedTuple):
    """The state of `clip_by_drift`.

    - `sum`: the uncut steps of this episode so far.
    - `drift`: that of earlier episodes in units of the parameters, 0 while none is over.
    - `made`: steps of this episode.
    """

    sum: Params
    drift: Scalar
    made: IntScalar


def clip_by_drift(limit: float) -> optax.GradientTransformationExtraArgs:
    r"""Cuts steps so that an episode's sum of them is about `limit` sigmas at most, as measured.

    $$ \Delta\theta \leftarrow \min\Big(1, \frac{\mathrm{limit}}{d}\Big)\, \Delta\theta, \qquad
       d = \mathrm{rms}\Big( \frac{1}{\sigma} \sum_{\text{episode}} \Delta\theta \Big) $$

    with the root mean square over all parameters. The sum is that of uncut steps, of this episode
    so far or of the last one, whichever is more; that of an earlier one counts 0.8 times as much
    with every episode since. In the first, steps are taken to point all the same way. Chained
    after any optimizer, whose learning rate is then the largest that it may have. The limit
    follows sigma, as `scale_by_sigma` does. A tree like the parameters is kept.

    **Arguments:**

    - `limit`: sigmas in an episode, above 0.

    **Raises:** `ValueError` for a limit that is not positive, and as `scale_by_sigma`.

    **Example:**

    >>> estimator = unspool.NRES(100, 10, sigma=unspool.Annealing(0.3))
    >>> optimizer = optax.chain(optax.sgd(1e-3), unspool.clip_by_drift(1.0))
    >>> problem = unspool.problems.InfluenceBalancing()
    >>> init, step = unspool.make_step(problem, estimator, optimizer)
    """
    if not limit > 0:
        raise ValueError(f"limit must be a number of sigmas above 0, got {limit!r}")

    def init(params):
        return DriftState(
            sum=rows.widen(rows.zeros_like(params)),
            drift=jnp.zeros(()),
            made=jnp.zeros((), int),
        )

    @rows.widening
    def update(updates, state, params=None, *, pace=None, num_windows=1, **others):
        pace = _as_tree("clip_by_drift", pace, updates)
        # In units of the parameters, so that it is more sigmas once sigma has fallen.
        unit = root_mean_square(pace)
        total = jax.tree.map(lambda x, step: (x + step).astype(x.dtype), state.sum, updates)
        straight = num_windows * unit * _drift(updates, pace)
        before = jnp.where(state.drift > 0, state.drift, straight)
        drift = jnp.maximum(before, unit * _drift(total, pace))
        factor = jnp.minimum(1, limit * unit / jnp.where(drift > 0, drift, unit * limit))
        ends = state.made + 1 >= num_windows
        new = DriftState(
            sum=rows.select(ends, rows.zeros_like(total), total),
            drift=jnp.where(
                ends, jnp.maximum(unit * _drift(total, pace), _KEPT * before), state.drift
            ),
            made=jnp.where(ends, 0, state.made + 1),
        )
        return jax.tree.map(lambda step: (step * factor).astype(step.dtype), updates), new

    return optax.GradientTransformationExtraArgs(init, update)


def _as_tree(name: str, pace: Any, updates: Params) -> Params:
    """The scale of each leaf."""
    if pace is None:
        raise ValueError(
            f"{name} needs the sigma of an estimator that perturbs, such as unspool.NRES, in a "
            "training by unspool.train or make_step"
        )
    return spread_scale(pace, updates)


@rows.widening
def _drift(moved: Params, pace: Params) -> Scalar:
    """The root mean square of a tree in units of another one."""
    return root_mean_square(jax.tree.map(jnp.divide, moved, pace))
