"""One window of workers that keep the parameters that they began with."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .. import _rows as rows
from .._custom_types import Clocks, PairMask, PairValues, Params, RowLosses
from .._engine import AbstractEngine, Trajectories
from .directions import AbstractDirections, Draw, draw_once
from .estimate import GradientSums, Moments, WindowRun, WindowSums, accumulate
from .perturbation import PairTree, Perturbation, perturb_each
from .perturbed_state import Deposits
from .reweighting import Baseline, Coefficients, Weights
from .roster import Roster
from .rounding import draw_dither
from .sigma import AbstractSigma
from .starts import Drift, Restarts, Starts
from .trajectories import choose
from .workers import Workers


class Reweighting(NamedTuple):
    """The settings of an estimator that reweights.

    - `directions`, `scale`: how noise is drawn.
    - `max_weight`: the largest weight, or `None`.
    - `restarts`: when workers begin anew before the end of an episode, or `None` for never.
    """

    directions: AbstractDirections
    scale: AbstractSigma
    max_weight: float | None = None
    restarts: Restarts | None = None


class Learned(NamedTuple):
    """The knowledge that all groups share: baselines of windows, what sigma has learned, starts."""

    baseline: Baseline
    sigma: PyTree[Any]
    starts: Starts


class Pairs(NamedTuple):
    """The pairs of a window: their noise, what follows from it, and both arms' parameters.

    Parameters are absolute: a shift of today's would be rounded differently in every window.
    """

    noise: PairTree
    perturbation: Perturbation
    arms: Params


class ReweightedWindow(NamedTuple):
    """A window of the groups at hand: who takes part, with what, and in which `place`."""

    settings: Reweighting
    engine: AbstractEngine
    params: Params
    workers: Workers
    roster: Roster
    place: Clocks

    @classmethod
    def of(cls, settings: Reweighting, engine, params: Params, workers: Workers, num_steps: int):
        """The window that comes next, of so many steps."""
        roster, learned = workers.roster(engine), workers.learned
        # What is drawn during warm-up has the scale of the first update.
        stamp = settings.scale.stamp(learned.sigma, jnp.maximum(workers.update, 0))
        starts = learned.starts.begin(params, stamp)
        workers = replace(workers, learned=learned._replace(starts=starts))
        t = jnp.where(roster.reset, 0, workers.trajectories.clock.t)
        place = jax.lax.div(jnp.maximum(t, 0), num_steps)
        if settings.restarts is not None:
            roster = roster._replace(share=roster.share * starts.correction[place])
        return cls(settings, engine, params, workers, roster, place)

    def run(self, num_steps: int) -> tuple[WindowSums, Workers]:
        """Sums over the groups, and the groups after the window."""
        starts, layout = self.workers.learned.starts, self.workers.layout
        drifts = starts.drifts(self.params, self.settings.scale)
        drift = jax.tree.map(lambda x: x[self.place], drifts)
        pairs = self._draw_pairs(starts.at(self.place))
        nowhere = rows.zeros_like(self.params)
        start = self._reset(nowhere, pairs.arms)
        after, losses = self.engine.unroll(nowhere, start, num_steps, pairs.arms)
        weights = Weights.of(pairs.noise, drift.sigmas, self.settings.max_weight)
        found = self._weigh(weights, *rows.unflatten(losses, 2))
        finite = layout.are_finite(losses)
        healthy = self.roster.running & finite & jnp.isfinite(found.noise + found.drift)
        run = WindowRun(start, after, losses, finite, healthy)
        gradients = self._sum_gradients(found, pairs, drift, healthy)
        sums = replace(
            accumulate(self.roster, layout, run, gradients),
            derivatives=Moments.of(found.noise, healthy),
            weights=Moments.of(weights.of_arms, layout.arms_of(healthy)),
            deposits=self._deposit(weights, losses, healthy),
        )
        done = after.arms.done | ~jnp.isfinite(losses)
        after = replace(after, arms=replace(after.arms, done=done))
        workers = self.workers.after(self.roster, healthy, after, None)
        return sums, self._restart(workers, drifts)

    def _draw_pairs(self, starts: Starts) -> Pairs:
        """The pairs of groups with these starts."""
        workers, settings, episode = self.workers, self.settings, self.roster.episode
        numbers, block = workers.pair_numbers(episode), jnp.zeros((), int)

        def draw(numbers):
            one = Draw(workers.noise_key, numbers, block, workers.num_pairs)
            return settings.directions.draw(self.params, one)

        noise = draw_once(
            lambda: jax.vmap(draw, in_axes=1, out_axes=1)(numbers), jnp.any(self.roster.running)
        )
        dither = draw_dither(workers.noise_key, numbers, jnp.zeros_like(numbers))
        stamp = self._of_pairs(starts.stamp)
        perturbation = perturb_each(starts.params, noise, settings.scale, stamp, dither)
        add = jax.vmap(jax.vmap(rows.add), in_axes=(None, 0))
        return Pairs(noise, perturbation, add(starts.params, perturbation.pair_shifts()))

    def _reset(self, nowhere: Params, arms: Params) -> Trajectories:
        """The rows at the start of the window, new episodes begun."""
        before, episode = self.workers.trajectories, self.roster.episode

        def begin():
            new = self.engine.start(nowhere, self.workers.data_keys(episode), arms)
            return choose(self.roster.reset, self.engine.shorten(new, episode), before)

        return jax.lax.cond(jnp.any(self.roster.reset), begin, lambda: before)

    @rows.widening
    def _weigh(self, weights: Weights, plus: PairValues, minus: PairValues) -> Coefficients:
        """The coefficients of the gradients of pairs, baselines taken off their losses."""
        found = weights.weigh(plus, minus)
        # A worker whose episode has ended goes to no later window. That depends on its noise, and
        # with it the mean of what a baseline adds.
        if self.engine.ends_early:
            return found
        b = self._of_pairs(self.workers.learned.baseline.value[self.place])
        return jax.tree.map(lambda x, y: x - b * y, found, weights.weigh(1.0, 1.0))

    @rows.widening
    def _sum_gradients(
        self, found: Coefficients, pairs: Pairs, drift: Drift, healthy: PairMask
    ) -> GradientSums:
        """The sums of healthy pairs' gradients times their shares."""
        share = self._of_pairs(self.roster.share)
        of_noise = rows.scale(found.noise * share, pairs.perturbation.score)
        of_drift = rows.scale(found.drift * share, self._of_pairs(drift.score))
        terms = jax.tree.map(jnp.add, of_noise, of_drift)
        return GradientSums.of(terms, healthy, self.roster, self.workers.num_workers)

    @rows.widening
    def _deposit(self, weights: Weights, losses: RowLosses, healthy: PairMask) -> Deposits:
        """What the pairs add to the baselines of their windows."""
        used = self.workers.layout.arms_of(healthy)
        weight = jnp.where(used, weights.of_arms, 0)
        sums = jnp.where(used, weight * losses, 0), weight
        num_windows = self.workers.survival.attempted.size
        by_window = lambda tree: rows.sum_by(self.place, tree, num_windows)
        return Deposits(by_window(sums), by_window(healthy.astype(int)))

    def _restart(self, workers: Workers, drifts: Drift) -> Workers:
        """The workers, some of them at the end of their episode before its time."""
        restarts, learned = self.settings.restarts, workers.learned
        if restarts is None:
            return workers
        keep = restarts.keep(learned.starts, drifts)
        episode, trajectories = workers.each.episode, workers.trajectories
        begins = restarts.draw(workers.noise_key, episode, self.place, keep)
        clock = trajectories.clock
        clock = replace(clock, t=jnp.where(begins, clock.length, clock.t))
        starts = replace(learned.starts, share=restarts.share_after(learned.starts, keep))
        return replace(
            workers,
            trajectories=replace(trajectories, clock=clock),
            learned=learned._replace(starts=starts),
        )

    def _of_pairs(self, tree: PyTree[Any]) -> PyTree[Any]:
        """The values of each group, repeated for each of its pairs."""
        return rows.repeat(tree, self.workers.layout.pairs)
