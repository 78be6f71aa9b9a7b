"""Sums over workers, and the estimate that they make."""

import functools as ft
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import (
    BoolScalar,
    IntScalar,
    PairMask,
    PairValues,
    Params,
    RowLosses,
    Scalar,
)
from .._engine import Trajectories
from .._results import RESULTS
from .._show import show
from .layout import Layout
from .plan import Plan
from .roster import Census, Roster


class Estimate(eqx.Module):
    """One estimate of a gradient.

    - `grad`: a tree like the parameters, ready for optax; `None` where nothing is trained.
    - `loss`: mean loss per step of the rows used; NaN if there are none.
    - `result`: a member of `RESULTS`.
    - `stats`: scalars: `grad_norm`; `dropped`, workers that failed in this window; `waiting`,
      workers that failed in an earlier window of an episode that is not at its end yet;
      `useful_steps`, problem steps run in episodes that were not done; `episodes`, episodes that
      began; for perturbed estimators, `derivative_std`, the standard deviation of the
      directional derivatives; with a control variate `uncontrolled`, groups of workers where it
      was not finite and was left out; and with an `Annealing` sigma `noise_norm`, the root of the
      mean of `grad_norm` squared if pairs had no common gradient.
    """

    grad: PyTree[Float[Array, "..."]]
    loss: Scalar
    result: RESULTS
    stats: dict[str, Float[Array, ""] | Int[Array, ""]]

    __repr__ = show


def shapes_of_stats(plan: Plan) -> dict[str, jax.ShapeDtypeStruct]:
    """The statistics that an estimate will have, before there is one."""
    kinds = {"grad_norm": float, "derivative_std": float, "noise_norm": float}
    names = "grad_norm", "dropped", "waiting", "useful_steps", "episodes", *plan.extra_stats
    kind = lambda name: jnp.result_type(kinds.get(name, int))
    return {name: jax.ShapeDtypeStruct((), kind(name)) for name in names}


class Moments(NamedTuple):
    """Sums of numbers and of their squares."""

    first: Scalar
    second: Scalar

    @classmethod
    def of(cls, values: PairValues, mask: PairMask) -> "Moments":
        """Those of the values in `mask`."""
        return cls(jnp.sum(values, where=mask), jnp.sum(values**2, where=mask))


class WindowSums(eqx.Module):
    """Sums over workers, of which an estimate is made; those of other workers add to them.

    - `gradient`, `loss`, `steps`: gradients, losses and steps of healthy pairs times their shares,
      so that sums stay as small as means.
    - `lost`: pairs that ran the window and whose losses are not finite.
    - `useful_steps`, `episodes`: steps run and episodes begun, by all.
    - `derivatives`: directional derivatives of healthy pairs, where there are any.
    - `deposits`: what is to be added to the learning state.
    - `uncontrolled`: groups whose control variate was not finite and was left out.
    - `noise`: the sum of the squared norms of pairs' gradients times shares, where it is asked for.
    """

    gradient: Params
    loss: Scalar
    steps: Scalar
    lost: IntScalar
    useful_steps: IntScalar
    episodes: IntScalar
    derivatives: Moments | None = None
    deposits: PyTree[Any] = None
    uncontrolled: IntScalar | None = None
    noise: Scalar | None = None


class WindowRun(NamedTuple):
    """The rows of a window, before and after it.

    - `start`, `after`: where they stood.
    - `losses`: each row's sum over the window.
    - `finite`: pairs whose losses are finite.
    - `healthy`: running pairs whose losses and derivatives are finite.
    """

    start: Trajectories
    after: Trajectories
    losses: RowLosses
    finite: PairMask
    healthy: PairMask


@rows.widening
def accumulate(roster: Roster, layout: Layout, run: WindowRun, gradient: Params) -> WindowSums:
    """The sums over the workers at hand; `gradient` is that of their gradients times shares."""
    healthy = rows.repeat(run.healthy, layout.own)
    used = rows.flatten(healthy)
    if layout.shared:
        whole = jnp.any(run.healthy, axis=0) & jnp.isfinite(run.losses[-1])
        used = rows.join_arms(used, rows.arms(whole))
    loss = jnp.sum(jnp.where(used, run.losses, 0), axis=0)
    steps = (run.after.clock.t - run.start.clock.t) * jnp.sum(used, axis=0)
    return WindowSums(
        gradient=gradient,
        loss=jnp.sum(roster.share * loss),
        steps=jnp.sum(roster.share * steps),
        lost=jnp.sum(roster.running & ~run.finite),
        useful_steps=jnp.sum(run.after.arms.taken - run.start.arms.taken),
        episodes=jnp.sum(roster.reset),
    )


class ProblemSums(NamedTuple):
    """Sums over the workers of one problem, and how many took part."""

    sums: WindowSums
    census: Census

    @property
    def undefined(self) -> IntScalar:
        """Pairs with finite losses whose derivatives are not."""
        return self.census.attempted - self.census.healthy - self.sums.lost


@rows.widening
def finalize(found: list[ProblemSums], params: Params, plan: Plan, ran_out: BoolScalar) -> Estimate:
    """The mean over the healthy pairs of a problem, and over problems, as an estimate.

    If counts `ran_out` it is no number, as nobody may go on with it.
    """
    add = lambda x, y: jax.tree.map(jnp.add, x, y)
    grad = ft.reduce(add, [_mean_gradient(*part, plan) for part in found])
    mean = lambda g, p: jnp.where(ran_out, jnp.nan, g / len(found)).astype(p.dtype)
    grad = jax.tree.map(mean, grad, params)
    sums, census = total = ft.reduce(add, found)
    one = rows.repeat(grad, 1)
    stats = {
        "grad_norm": rows.norm(one)[0],
        "dropped": census.attempted - census.healthy,
        "waiting": len(found) * plan.num_workers - census.attempted,
        "useful_steps": sums.useful_steps,
        "episodes": sums.episodes,
    }
    if sums.derivatives is not None:
        first, second = (x / census.healthy for x in sums.derivatives)
        std = jnp.sqrt(jnp.maximum(second - first**2, 0))
        stats["derivative_std"] = std / plan.steps_per_window
    if sums.noise is not None:
        stats["noise_norm"] = _noise_norm(found, plan)
    if sums.uncontrolled is not None:
        stats["uncontrolled"] = sums.uncontrolled
    losses = jnp.stack([part.sums.loss / part.sums.steps for part in found])
    result = _judge(found, total, rows.all_finite(one)[0])
    result = RESULTS.where(ran_out, RESULTS.counts_ran_out, result)
    return Estimate(grad, jnp.mean(losses), result, stats)


def _mean_gradient(sums: WindowSums, census: Census, plan: Plan) -> Params:
    factor = _mean_factor(census, plan)
    return jax.tree.map(lambda x: x * factor, sums.gradient)


def _mean_factor(census: Census, plan: Plan) -> Scalar:
    """The factor that makes the mean of gradients of a sum over workers."""
    # Of the pairs that came into the window so many as are healthy stand for all: given that
    # there is one, this is right whoever failed. That fewer came than without failures is by
    # chance and has its weight already.
    scale = census.attempted / jnp.where(census.stood_for > 0, census.stood_for, 1)
    return scale / plan.steps_per_window


def _noise_norm(found: list[ProblemSums], plan: Plan) -> Scalar:
    """The norm that the gradient would have if those of pairs pointed anywhere."""
    squares = [
        _mean_factor(part.census, plan) ** 2 * part.sums.noise
        for part in found
        if part.sums.noise is not None
    ]
    return jnp.sqrt(jnp.sum(jnp.stack(squares))) / len(found)


def _judge(found: list[ProblemSums], total: ProblemSums, finite: BoolScalar) -> RESULTS:
    """The worst of what has happened."""
    result = RESULTS.where(total.undefined > 0, RESULTS.dropped_derivatives, RESULTS.successful)
    result = RESULTS.where(total.sums.lost > 0, RESULTS.dropped_workers, result)
    result = RESULTS.where(finite, result, RESULTS.nonfinite_gradient)
    for part in found:
        only_derivatives = (part.undefined > 0) & (part.sums.lost == 0)
        nobody = RESULTS.where(
            only_derivatives, RESULTS.nonfinite_gradient, RESULTS.all_workers_dropped
        )
        result = RESULTS.where(part.census.healthy == 0, nobody, result)
    return result
