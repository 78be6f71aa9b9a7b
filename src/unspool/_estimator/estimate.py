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
    r"""One estimate of a gradient.

    - `grad`: a tree like the parameters, ready for optax; `None` where nothing is trained.
    - `noise`: half of the difference between the workers of even and of odd numbers: as noisy as
      `grad` is, if these are independent, and of mean zero. What is common to both has gone, so
      that averages of it say how noisy averages of `grad` are. `None` for fewer than two workers,
      and in reverse mode, where workers share one backward pass.
    - `loss`: mean loss per step of the rows used; NaN if there are none.
    - `result`: a member of `RESULTS`.
    - `stats`: scalars: `grad_norm`; with `noise`, the `variance` of the estimate, all parameters'
      together, from the spread of the workers' gradients; `dropped`, workers that failed in this
      window; `waiting`, workers that failed in an earlier window of an episode that is not at its
      end yet; `useful_steps`, problem steps run in episodes that were not done; `episodes`,
      episodes that began; for perturbed estimators, `derivative_std`, the standard deviation of the
      directional derivatives; with a control variate `uncontrolled`, groups of workers where it was
      not finite and was left out; and with importance weights $w$ `effective_workers`, the number
      of equally weighted workers that is worth as much, $(\sum w)^2 / \sum w^2$.
    """

    grad: PyTree[Float[Array, "..."]]
    loss: Scalar
    result: RESULTS
    stats: dict[str, Float[Array, ""] | Int[Array, ""]]
    noise: PyTree[Float[Array, "..."]] | None = None

    __repr__ = show


def shapes_of_stats(plan: Plan) -> dict[str, jax.ShapeDtypeStruct]:
    """The statistics that an estimate will have, before there is one."""
    floats = "grad_norm", "variance", "derivative_std", "effective_workers"
    kinds = dict.fromkeys(floats, float)
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
    - `contrast`: as `gradient`, with a sign for each worker; `None` where workers have no gradient
      of their own. `squares` are then their squared norms.
    - `lost`: pairs that ran the window and whose losses are not finite.
    - `useful_steps`, `episodes`: steps run and episodes begun, by all.
    - `derivatives`: directional derivatives of healthy pairs, where there are any.
    - `deposits`: what is to be added to the learning state.
    - `uncontrolled`: groups whose control variate was not finite and was left out.
    - `weights`: importance weights of healthy pairs' arms, where there are any.
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
    contrast: Params | None = None
    squares: Scalar | None = None
    weights: Moments | None = None


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


class GradientSums(NamedTuple):
    """Sums of gradients times shares: all, with a sign for each worker, and their squared norms."""

    gradient: Params
    contrast: Params | None = None
    squares: Scalar | None = None

    @classmethod
    def of(cls, terms: PyTree[Any], healthy: PairMask, roster: Roster, num_groups: int):
        """Those of pairs x groups, of which `healthy` count."""
        gradient = rows.masked_sum(terms, healthy)
        if num_groups < 2:
            return cls(gradient)
        index = roster.episode % num_groups
        # An odd number's last has no counterpart: the others stand for it.
        paired = jnp.where(index < num_groups - num_groups % 2, 1.0, 0.0)
        paired = paired * (num_groups / (num_groups - num_groups % 2)) ** 0.5
        sign = jnp.where(index % 2 == 0, paired, -paired)
        of_groups = jax.tree.map(
            lambda x: jnp.sum(x, axis=0), rows.select(healthy, terms, rows.zeros_like(terms))
        )
        contrast = jax.tree.map(lambda x: jnp.sum(x, axis=0), rows.scale(sign, of_groups))
        return cls(gradient, contrast, jnp.sum(rows.dot(of_groups, of_groups)))


@rows.widening
def accumulate(roster: Roster, layout: Layout, run: WindowRun, sums: GradientSums) -> WindowSums:
    """The sums over the workers at hand, among them those of their gradients."""
    healthy = rows.repeat(run.healthy, layout.own)
    used = rows.flatten(healthy)
    if layout.shared:
        whole = jnp.any(run.healthy, axis=0) & jnp.isfinite(run.losses[-1])
        used = rows.join_arms(used, rows.arms(whole))
    loss = jnp.sum(jnp.where(used, run.losses, 0), axis=0)
    steps = (run.after.clock.t - run.start.clock.t) * jnp.sum(used, axis=0)
    return WindowSums(
        gradient=sums.gradient,
        contrast=sums.contrast,
        squares=sums.squares,
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

    def scale(self, plan: Plan) -> Scalar:
        """The factor that makes a mean of the sum of gradients."""
        # Of the pairs that came into the window so many as are healthy stand for all: given that
        # there is one, this is right whoever failed. That fewer came than without failures is by
        # chance and has its weight already.
        stood_for = jnp.where(self.census.stood_for > 0, self.census.stood_for, 1)
        return self.census.attempted / stood_for / plan.steps_per_window

    def variance(self, plan: Plan) -> Scalar:
        """That of the mean, if workers are independent."""
        one, count = rows.repeat(self.sums.gradient, 1), plan.num_groups
        apart = jnp.asarray(self.sums.squares) - rows.dot(one, one)[0] / count
        return self.scale(plan) ** 2 * apart * count / (count - 1)


@rows.widening
def finalize(found: list[ProblemSums], params: Params, plan: Plan, ran_out: BoolScalar) -> Estimate:
    """The mean over the healthy pairs of a problem, and over problems, as an estimate.

    If counts `ran_out` it is no number, as nobody may go on with it.
    """
    add = lambda x, y: jax.tree.map(jnp.add, x, y)

    def mean(name):
        scaled = [rows.scale(part.scale(plan), getattr(part.sums, name)) for part in found]
        return jax.tree.map(
            lambda g: jnp.where(ran_out, jnp.nan, g / len(found)), ft.reduce(add, scaled)
        )

    grad = jax.tree.map(lambda g, p: g.astype(p.dtype), mean("gradient"), params)
    total, one = ft.reduce(add, found), rows.repeat(grad, 1)
    losses = jnp.stack([part.sums.loss / part.sums.steps for part in found])
    result = _judge(found, total, rows.all_finite(one)[0])
    result = RESULTS.where(ran_out, RESULTS.counts_ran_out, result)
    stats = {"grad_norm": rows.norm(one)[0]} | _find_stats(found, total, plan)
    return Estimate(grad, jnp.mean(losses), result, stats, mean("contrast"))


def _find_stats(found: list[ProblemSums], total: ProblemSums, plan: Plan) -> dict[str, Any]:
    """The statistics of an estimate, as far as its sums have them."""
    sums, census = total
    stats: dict[str, Any] = {
        "dropped": census.attempted - census.healthy,
        "waiting": len(found) * plan.num_workers - census.attempted,
        "useful_steps": sums.useful_steps,
        "episodes": sums.episodes,
    }
    if sums.squares is not None:
        variances = jnp.stack([part.variance(plan) for part in found])
        stats["variance"] = jnp.sum(variances) / len(found) ** 2
    if sums.derivatives is not None:
        first, second = (x / census.healthy for x in sums.derivatives)
        std = jnp.sqrt(jnp.maximum(second - first**2, 0))
        stats["derivative_std"] = std / plan.steps_per_window
    if sums.uncontrolled is not None:
        stats["uncontrolled"] = sums.uncontrolled
    if sums.weights is not None:
        # Of two arms for each pair. Without any weight there is no worker either.
        first, second = sums.weights
        stats["effective_workers"] = first**2 / (2 * jnp.where(second > 0, second, 1))
    return stats


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
