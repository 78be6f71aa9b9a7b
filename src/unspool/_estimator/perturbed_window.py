"""One window of the estimators that perturb, in the order of their formula."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .. import _rows as rows
from .._custom_types import Clocks, PairMask, PairValues, Params, RowLosses
from .._engine import AbstractEngine
from .controlled import apply_control
from .direction_cache import DirectionCache
from .directions import Draw
from .estimate import Moments, WindowRun, WindowSums, accumulate
from .perturbation import PairTree, Perturbation, perturb
from .perturbed_state import Carried, Deposits
from .probe import Branches
from .roster import Roster
from .rounding import draw_dither
from .segments import Segments
from .tableau import Tableau
from .trajectories import choose
from .workers import Workers


class Drawn(NamedTuple):
    """The perturbation of a segment, and by which sigma knows its scale."""

    perturbation: Perturbation
    stamp: PyTree[Any]


class SegmentSums(NamedTuple):
    """Sums over the segments of a window: of each row's losses and of each pair's derivatives,
    gradients times shares, and deposits; and how many guesses of each group were not finite."""

    losses: RowLosses
    derivative: PairValues
    gradient: PairTree
    deposits: PyTree[Any] = None
    uncontrolled: Int[Array, " workers"] | None = None


class SegmentCarry(NamedTuple):
    """The carry from one segment to the next."""

    branches: Branches
    score_sum: PairTree | None
    stamp: PyTree[Any]
    found: SegmentSums


class PerturbedWindow(NamedTuple):
    """A window of the groups at hand: who takes part, and with what."""

    tableau: Tableau
    engine: AbstractEngine
    params: Params
    workers: Workers
    roster: Roster
    segments: Segments
    cache: DirectionCache | None

    @classmethod
    def of(cls, tableau: Tableau, engine: AbstractEngine, params: Params, workers: Workers):
        """The window that comes next."""
        segments, roster = Segments.of(tableau, engine.horizon), workers.roster(engine)
        window = cls(tableau, engine, params, workers, roster, segments, workers.carried.cache)
        return window if window.cache is None else window._replace(cache=window.refresh_cache())

    def run(self) -> tuple[WindowSums, Workers]:
        """Sums over the groups, and the groups after the window."""
        carried, reset = self.workers.carried, self.roster.reset
        t = jnp.where(reset, 0, self.workers.trajectories.clock.t)
        # Outside of the branch: new episodes begin with what the first segment is run with.
        drawn = self._draw(t, carried.stamp)
        start = self._reset_branches(drawn.perturbation)
        score_sum = carried.score_sum
        if score_sum is not None:
            score_sum = rows.select_worker(reset, rows.zeros_like(score_sum), score_sum)
        carry = SegmentCarry(start, score_sum, carried.stamp, self._nothing_found())
        if self.segments.per_window == 1:
            carry = self._run_segment(carry, drawn)
        else:
            one = lambda carry, _: (self._run_segment(carry), None)
            carry, _ = jax.lax.scan(one, carry, length=self.segments.per_window)
        return self._conclude(start, carry)

    def _draw(self, t: Clocks, stamp: PyTree[Any]) -> Drawn:
        """The perturbations in use at step `t`, each with the scale that it was drawn with."""
        tableau, workers = self.tableau, self.workers
        pairs, block = workers.layout.pairs, self.segments.block(t)
        # What is drawn during warm-up has the scale of the first update.
        update = jnp.maximum(workers.update, 0)
        newest = tableau.scale.stamp(workers.learned.sigma, update)
        newest = jax.tree.map(lambda x, old: jnp.full_like(old, x), newest, stamp)
        stamp = rows.select_worker(self.segments.redraws(t), newest, stamp)
        if self.cache is None:
            noise = self._draw_once(block)
        else:
            noise = self.cache.now
        dither = None
        if tableau.probe.smooths:
            numbers = workers.pair_numbers(self.roster.episode)
            dither = draw_dither(workers.noise_key, numbers, rows.repeat(block, pairs))
        return Drawn(perturb(self.params, noise, tableau.scale, stamp, dither), stamp)

    def _draw_once(self, block: Clocks) -> PairTree:
        """The directions in use, where they are not kept in memory."""
        draw = lambda: self._draw_directions(self.roster.episode, block)
        no_draw = lambda: rows.zeros_like(jax.eval_shape(draw))
        # On the CPU XLA would fuse the draw into each arm and into the gradient, and so take most
        # of its logarithms and polynomials three times. What comes out of a branch it keeps. Other
        # devices would wait for the branch.
        branch = lambda: jax.lax.cond(jnp.any(self.roster.running), draw, no_draw)
        return jax.lax.platform_dependent(cpu=branch, default=draw)

    def _draw_directions(self, episode: Clocks, block: Clocks) -> PairTree:
        workers, directions = self.workers, self.tableau.directions

        def one(numbers, block):
            draw = Draw(workers.noise_key, numbers, block, workers.num_pairs)
            return directions.draw(self.params, draw)

        return jax.vmap(one, in_axes=(1, 0), out_axes=1)(workers.pair_numbers(episode), block)

    def refresh_cache(self) -> DirectionCache:
        """The directions that are kept, those of new episodes among them."""
        workers = self.workers
        draw = lambda episode: self._draw_directions(episode, jnp.zeros_like(episode))
        return workers.carried.cache.refresh(self.roster, workers.next_episodes, draw)

    def _reset_branches(self, perturbation: Perturbation) -> Branches:
        """The arms at the start of the window, new episodes begun."""
        workers, reset, episode = self.workers, self.roster.reset, self.roster.episode
        before = Branches(workers.trajectories, workers.carried.tangent)

        def begin():
            keys = workers.data_keys(episode)
            new = self.tableau.probe.start(self.engine, self.params, keys, perturbation)
            trajectories = self.engine.shorten(new.trajectories, episode)
            return Branches(
                choose(reset, trajectories, before.trajectories),
                rows.select_worker(reset, new.tangent, before.tangent),
            )

        return jax.lax.cond(jnp.any(reset), begin, lambda: before)

    def _nothing_found(self) -> SegmentSums:
        pairs, workers = self.workers.failed.shape
        nothing = jnp.zeros(self.workers.trajectories.arms.done.shape, jnp.result_type(float))
        of_pairs = lambda tree: rows.repeat(rows.repeat(tree, workers), pairs)
        found = SegmentSums(
            nothing, nothing[:pairs], of_pairs(rows.widen(rows.zeros_like(self.params)))
        )
        control = self.tableau.control
        if control is None:
            return found
        deposits = jax.tree.map(lambda x: jnp.zeros_like(x, float), control.init())
        none = jnp.zeros(workers, int)
        return found._replace(deposits=of_pairs(deposits), uncontrolled=none)

    def _run_segment(self, carry: SegmentCarry, drawn: Drawn | None = None) -> SegmentCarry:
        """One segment of the sum: its scores, its derivatives, and what a control leaves."""
        branches, score_sum, stamp, found = carry
        t = branches.trajectories.clock.t
        drawn = self._draw(t, stamp) if drawn is None else drawn
        score, score_sum = self._weigh(t, drawn.perturbation.score, score_sum)
        branches, measured = self.tableau.probe.unroll(
            self.engine, self.params, branches, self.segments.length, drawn.perturbation
        )
        learned = jax.tree.map(lambda x: x[self._window_index()], self.workers.learned.control)
        controlled = apply_control(
            self.tableau.control, learned, measured, drawn.perturbation.along
        )
        share = self._of_pairs(self.roster.share)
        gradient = rows.scale(controlled.derivative * share, score)
        if controlled.guess is not None:
            guess = self._of_pairs(rows.scale(self.roster.share, controlled.guess))
            gradient = jax.tree.map(jnp.add, gradient, guess)
        new = SegmentSums(measured.losses, controlled.derivative, gradient, *controlled[2:])
        found = jax.tree.map(jnp.add, found, new)
        return SegmentCarry(branches, score_sum, drawn.stamp, found)

    def _weigh(self, t: Clocks, score: PairTree, score_sum: PairTree | None):
        """The scores that a segment's derivatives are weighed with, and their sum after it."""
        if score_sum is None:
            return score, None
        fresh = self.segments.redraws(t)
        score = rows.select_worker(fresh, score, rows.zeros_like(score))
        earlier, score_sum = score_sum, jax.tree.map(jnp.add, score_sum, score)
        control = self.tableau.control
        only_earlier = control is not None and control.replaces_newest_score
        return (earlier if only_earlier else score_sum), score_sum

    def _conclude(self, start: Branches, carry: SegmentCarry) -> tuple[WindowSums, Workers]:
        """The sums over pairs that came through, and the groups after the window."""
        found, branches, layout = carry.found, carry.branches, self.workers.layout
        control = self.tableau.control
        finite = layout.are_finite(found.losses)
        if layout.shared and (control is None or control.replaces_newest_score):
            finite = finite & self._of_pairs(jnp.isfinite(found.losses[-1]))
        healthy = self.roster.running & finite & jnp.isfinite(found.derivative)
        after = branches.trajectories
        run = WindowRun(start.trajectories, after, found.losses, finite, healthy)
        gradient = rows.masked_sum(found.gradient, healthy)
        sums = accumulate(self.roster, layout, run, gradient)
        sums = replace(sums, derivatives=Moments.of(found.derivative, healthy))
        if self.tableau.scale.needs_noise:
            sums = replace(sums, noise=rows.squared_norm(found.gradient, healthy))
        if control is not None:
            sums = replace(sums, **self._deposit(found, healthy))
        done = after.arms.done | ~jnp.isfinite(found.losses)
        after = replace(after, arms=replace(after.arms, done=done))
        branches = branches._replace(trajectories=after)
        if self.tableau.rejoins:
            branches = self.tableau.probe.rejoin(branches)
        carried = Carried(branches.tangent, carry.score_sum, carry.stamp, self.cache)
        return sums, self.workers.after(self.roster, healthy, branches.trajectories, carried)

    def _deposit(self, found: SegmentSums, healthy: PairMask) -> dict[str, Any]:
        """Deposits of the groups for the windows that they have gone through."""
        controlled = found.uncontrolled == 0
        mask = healthy & self._of_pairs(controlled)
        num_windows = self.workers.survival.attempted.size
        by_window = lambda tree: rows.sum_by(self._window_index(), tree, num_windows)
        deposits = rows.select(mask, found.deposits, rows.zeros_like(found.deposits))
        lost = jnp.any(healthy, axis=0) & ~controlled
        return {
            "deposits": Deposits(by_window(deposits), by_window(mask.astype(int))),
            "uncontrolled": jnp.sum(lost),
        }

    def _window_index(self) -> Clocks:
        """The place in the episode of the window that each group goes through."""
        t = jnp.where(self.roster.reset, 0, self.workers.trajectories.clock.t)
        return self.segments.window_of(t)

    def _of_pairs(self, tree: PyTree[Any]) -> PyTree[Any]:
        """The values of each group, repeated for each of its pairs."""
        return rows.repeat(tree, self.workers.layout.pairs)
