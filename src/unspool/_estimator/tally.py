"""Sums over workers, and the estimate that they make."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import (
    BoolScalar,
    IntScalar,
    Params,
    RowLosses,
    Scalar,
    WorkerMask,
    WorkerValues,
)
from .._engine import Trajectories
from .._results import RESULTS
from .workers import Census, Roster


class Estimate(eqx.Module):
    """One estimate of a gradient.

    - `grad`: a tree like the parameters, ready for optax; `None` where nothing is trained.
    - `loss`: mean loss per step of the rows used; NaN if there are none.
    - `result`: a member of `RESULTS`.
    - `stats`: scalars: `grad_norm`; `dropped`, workers that failed in this window; `waiting`,
      workers that failed in an earlier window of an episode that is not at its end yet;
      `useful_steps`, problem steps run in episodes that were not over; `episodes`, episodes that
      began; and, for perturbed estimators, `slope_std`, the standard deviation of the
      directional derivatives.
    """

    grad: PyTree[Float[Array, "..."]]
    loss: Scalar
    result: RESULTS
    stats: dict[str, Float[Array, ""] | Int[Array, ""]]


class Tally(eqx.Module):
    """Sums over workers, of which an estimate is made; those of other workers add to them.

    - `moment`, `loss`, `steps`: gradients, losses and steps of healthy workers times their shares,
      so that sums stay as small as means.
    - `lost`: workers that ran the window and whose losses are not finite.
    - `useful_steps`, `episodes`: steps run and episodes begun, by all.
    - `slopes`: directional derivatives and their squares, of healthy workers.
    """

    moment: Params
    loss: Scalar
    steps: Scalar
    lost: IntScalar
    useful_steps: IntScalar
    episodes: IntScalar
    slopes: tuple[Scalar, Scalar] | None


@rows.widening
def tally(
    roster: Roster,
    start: Trajectories,
    after: Trajectories,
    losses: RowLosses,
    moment: Params,
    healthy: WorkerMask,
    slope: WorkerValues | None = None,
) -> Tally:
    """What workers found in a window.

    `losses` are each row's sums over the window, `moment` is the sum of the healthy workers'
    gradients times their shares, `slope` what each worker's arms say of it, if they do.
    """
    ran = after.taken - start.taken
    finite = jnp.all(jnp.isfinite(losses), axis=0)
    share = jnp.where(healthy, roster.share, 0)
    loss = jnp.where(healthy, jnp.sum(losses, axis=0), 0)
    sums = lambda x: jnp.sum(x, where=healthy)
    return Tally(
        moment=moment,
        loss=jnp.sum(share * loss),
        steps=jnp.sum(share * (after.t - start.t)) * losses.shape[0],
        lost=jnp.sum(roster.running & ~finite),
        useful_steps=jnp.sum(ran),
        episodes=jnp.sum(roster.newborn),
        slopes=None if slope is None else (sums(slope), sums(slope**2)),
    )


@rows.widening
def conclude(
    tallies: list[Tally],
    censuses: list[Census],
    params: Params,
    num_workers: int,
    steps_per_window: float,
    ran_out: BoolScalar,
) -> Estimate:
    """The mean over the healthy workers of a problem, and over problems, as an estimate.

    If counts `ran_out` it is no number, as nobody may go on with it.
    """

    def mean(tally, census):
        # Of the workers that came into the window so many as are healthy stand for all: given
        # that there is one, this is right whoever failed. That fewer came than without failures
        # is by chance and has its weight already.
        scale = census.attempted / jnp.where(census.stood_for > 0, census.stood_for, 1)
        scale = scale / (steps_per_window * len(tallies))
        return jax.tree.map(lambda x: x * scale, tally.moment)

    grads = [mean(*each) for each in zip(tallies, censuses, strict=True)]
    grad = ft.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), grads)
    grad = jax.tree.map(lambda g, p: jnp.where(ran_out, jnp.nan, g).astype(p.dtype), grad, params)
    losses = jnp.stack([tally.loss / tally.steps for tally in tallies])
    one = rows.repeat(grad, 1)
    total = ft.reduce(lambda x, y: jax.tree.map(jnp.add, x, y), tallies)
    everyone = Census(*(ft.reduce(jnp.add, x) for x in zip(*censuses, strict=True)))
    undefined = lambda census, tally: census.attempted - census.healthy - tally.lost
    outcome = RESULTS.where(
        undefined(everyone, total) > 0, RESULTS.dropped_derivatives, RESULTS.successful
    )
    outcome = RESULTS.where(total.lost > 0, RESULTS.dropped_workers, outcome)
    outcome = RESULTS.where(rows.all_finite(one)[0], outcome, RESULTS.nonfinite_gradient)
    for census, tally in zip(censuses, tallies, strict=True):
        only_derivatives = (undefined(census, tally) > 0) & (tally.lost == 0)
        nobody = RESULTS.where(
            only_derivatives, RESULTS.nonfinite_gradient, RESULTS.all_workers_dropped
        )
        outcome = RESULTS.where(census.healthy == 0, nobody, outcome)
    outcome = RESULTS.where(ran_out, RESULTS.counts_ran_out, outcome)
    stats = {
        "grad_norm": rows.norm(one)[0],
        "dropped": everyone.attempted - everyone.healthy,
        "waiting": len(tallies) * num_workers - everyone.attempted,
        "useful_steps": total.useful_steps,
        "episodes": total.episodes,
    }
    if total.slopes is not None:
        first, second = (x / everyone.healthy for x in total.slopes)
        stats["slope_std"] = jnp.sqrt(jnp.maximum(second - first**2, 0)) / steps_per_window
    return Estimate(grad, jnp.mean(losses), outcome, stats)
