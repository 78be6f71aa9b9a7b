"""Kernel A: estimators that perturb the parameters and weigh slopes with scores."""

import abc
import functools as ft
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .. import _rows as rows
from .._counts import check_count
from .._custom_types import Clocks, Params, RandomKey
from .._engine import AbstractEngine
from .._target import Target
from .base import AbstractEstimator
from .directions import AbstractDirections, GaussianDirections, Kept
from .phases import AbstractPhases, EvenPhases
from .probe import AbstractProbe
from .rounding import Perturbation, draw_dither, hold_pair
from .sigma import Sigma, least_sigma, scale_noise
from .tally import Tally, tally
from .workers import Workers, choose, enlist


class Tableau(eqx.Module):
    """One row of the table of perturbed estimators; `None` stands for a whole episode.

    - `window`: steps between estimates.
    - `period`: steps for which a direction is kept.
    - `rejoin`: steps after which a worker's arms are brought together.
    - `probe`: how slopes are measured.
    - `sigma`: scale of the perturbation.
    - `phases`: where in the episode workers start.
    - `directions`: how directions are drawn.
    - `credits_newest`: whether losses are credited to the noise of their own period too, or only
      to that of earlier ones, the rest being left to the probe's control.
    """

    window: int | None
    period: int | None
    rejoin: int | None
    probe: AbstractProbe
    sigma: Sigma = 1.0
    phases: AbstractPhases = EvenPhases()
    directions: AbstractDirections = GaussianDirections()
    credits_newest: bool = True


class Carried(eqx.Module):
    """What a perturbed worker keeps besides its arms.

    - `tangent`: the derivative of the arm's state, for probes that carry one.
    - `credit`: the sum of the scores lived through, where that is more than the newest one.
    - `drawn_at`: the update at which the direction in use was drawn.
    - `kept`: the directions themselves, where they last an episode and are no larger than the arms.
    """

    tangent: PyTree[Any]
    credit: PyTree[Any]
    drawn_at: Clocks
    kept: Kept | None


class AbstractPerturbed(AbstractEstimator):
    r"""The kernel of all estimators that perturb.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N} \sum_{\text{stretches}}
       \mathrm{slope}_i \; \mathrm{credit}_i $$

    over $N$ workers and the stretches of a window, $n$ windows to an episode of $T$ steps. The
    slope is the directional derivative of the stretch's loss along the perturbation; the credit
    is the sum of the scores $z / \sigma$ that the arms have lived through since they were
    together. With a control $p$, a guess of the gradient that owes nothing to the perturbation
    $\sigma z$, it is $p + (\mathrm{slope} - p \cdot \sigma z)\, \mathrm{credit}$. A member of the
    family is a `Tableau`.
    """

    @property
    @abc.abstractmethod
    def tableau(self) -> Tableau:
        """This member's row of the table."""

    def __check_init__(self):
        tableau = self.tableau
        check_count(num_workers=self.num_workers, window=tableau.window, period=tableau.period)
        window, period = tableau.window, tableau.period
        if tableau.rejoin not in (None, window):
            raise ValueError(f"rejoin must be None or the window, got {tableau.rejoin}")
        if window is None or period is None or window % period == 0 or period % window == 0:
            return
        legal = [p for p in range(1, 2 * period + window) if window % p == 0 or p % window == 0]
        below = max(p for p in legal if p < period)
        above = min(p for p in legal if p > period)
        raise ValueError(
            f"period must divide window or be a multiple of it, got period={period} with "
            f"window={window}; the nearest legal periods are {below} and {above}"
        )

    @property
    def needs_derivatives(self) -> bool:
        return self.tableau.probe.needs_derivatives

    @property
    def needs_copies(self) -> bool:
        return self.tableau.rejoin is not None

    def num_windows(self, horizon: int) -> int:
        return -(-horizon // (self.tableau.window or horizon))

    @property
    def num_rows(self) -> int:
        return self.tableau.probe.num_arms * self.num_workers

    def num_sequential_steps(self, horizon: int) -> int:
        num_steps, num_stretches = self._stretches(horizon)
        return num_steps * num_stretches

    def num_warmup_windows(self, horizon: int) -> int:
        return self.tableau.phases.num_warmup_windows(self.num_windows(horizon))

    def target(self, horizon: int) -> Target:
        tableau = self.tableau
        sigma = tableau.sigma if tableau.probe.smooths else 0.0
        return Target(tableau.rejoin, tableau.period, sigma)

    def _stretches(self, horizon: int) -> tuple[int, int]:
        """The steps for which no direction changes, and how many such make a window."""
        window = min(self.tableau.window or horizon, horizon)
        stretch = min(self.tableau.period or horizon, window)
        return stretch, -(-window // stretch)

    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        return self.tableau.phases.draw(self.num_workers, num_windows, key)

    def _enlist(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        tableau, T = self.tableau, engine.horizon
        still = rows.repeat(rows.widen(rows.zeros_like(params)), 1)
        nowhere = Perturbation(still, rows.arms(still, still))
        trajectory, tangent = tableau.probe.start(engine, params, rows.repeat(key, 1), nowhere)
        redraws_before_rejoin = (tableau.period or T) < min(tableau.rejoin or T, T)
        credit = still if redraws_before_rejoin or not tableau.credits_newest else None
        small = rows.num_bytes(still) <= rows.num_bytes(trajectory.state)
        K, W = tableau.period or T, tableau.window or T
        lasting = W < T <= K and tableau.rejoin is None
        keeps = small and lasting and tableau.directions.independent
        kept = Kept(still, still, jnp.ones_like(trajectory.ended)) if keeps else None
        carried = Carried(tangent, credit, jnp.zeros_like(trajectory.t), kept)
        return enlist(key, self.num_workers, self.num_windows(T), trajectory, carried)

    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        tableau, T = self.tableau, engine.horizon
        K = min(tableau.period or T, T)
        # Divisions of integers are slow, and a noise that lasts needs none.
        block = lambda t: jax.lax.div(t, K) if K < T else jnp.zeros_like(t)
        redraws = lambda t: jax.lax.rem(t, K) == 0 if K < T else t == 0
        num_steps, num_stretches = self._stretches(T)
        probe, carried, credit = tableau.probe, workers.carried, workers.carried.credit
        directions, kept = tableau.directions, carried.kept
        # What is drawn while workers are spread has the scale of the first update.
        update = jnp.maximum(workers.update, 0)

        arms = workers.trajectories, carried.tangent
        roster = workers.roster(engine)
        newborn, birth = roster.newborn, roster.birth
        if credit is not None:
            credit = rows.where(newborn, rows.zeros_like(credit), credit)

        if kept is not None:
            ahead = jnp.where(newborn, birth, workers.next_births(birth))
            draw_all = ft.partial(directions.draw, params, workers.noise_key, ahead)
            kept = kept.turn(newborn, lambda: draw_all(jnp.zeros_like(birth)))

        sigma = least_sigma(tableau.sigma, params, update, carried.drawn_at)

        def draw(t, drawn_at):
            if kept is None:
                noise = directions.draw(params, workers.noise_key, birth, block(t))
            else:
                noise = kept.now
            drawn_at = jnp.where(redraws(t), update, drawn_at)
            along, score = scale_noise(tableau.sigma, params, drawn_at, noise)
            pair = None
            if probe.smooths:
                dither = draw_dither(workers.noise_key, birth, block(t))
                pair = hold_pair(params, along, sigma, dither)
            return Perturbation(along, pair), score, drawn_at

        # Outside of the branch: it is that of the first stretch, too.
        drawn = draw(jnp.where(newborn, 0, arms[0].t), carried.drawn_at)

        def give_birth(arms):
            keys = workers.data_keys(birth)
            trajectories, tangent = probe.start(engine, params, keys, drawn[0])
            trajectories = engine.shorten(trajectories, birth)
            return choose(newborn, trajectories, arms[0]), rows.where(newborn, tangent, arms[1])

        arms = jax.lax.cond(jnp.any(newborn), give_birth, lambda arms: arms, arms)

        def stretch(carry, drawn):
            (trajectories, tangent), credit, drawn_at, sums = carry
            perturbation, score, drawn_at = drawn or draw(trajectories.t, drawn_at)
            if credit is not None:
                fresh = redraws(trajectories.t)
                score = rows.where(fresh, score, rows.zeros_like(score))
                earlier, credit = credit, jax.tree.map(jnp.add, credit, score)
                score = credit if tableau.credits_newest else earlier
            arms, (losses, slope, control) = probe.unroll(
                engine, params, (trajectories, tangent), num_steps, perturbation
            )
            if control is not None:
                slope = slope - rows.dot(control, perturbation.along)
            found = losses, slope, rows.scale(slope * roster.share, score)
            sums = jax.tree.map(jnp.add, sums, found)
            if control is not None:
                control = rows.scale(roster.share, control)
                sums = *sums[:2], jax.tree.map(jnp.add, sums[2], control)
            return (arms, credit, drawn_at, sums), None

        start = arms[0]
        nothing = jnp.zeros(start.over.shape, jnp.result_type(float))
        moment = rows.repeat(rows.widen(rows.zeros_like(params)), birth.size)
        carry = arms, credit, carried.drawn_at, (nothing, nothing[0], moment)
        if num_stretches == 1:
            carry, _ = stretch(carry, drawn)
        else:
            carry, _ = jax.lax.scan(stretch, carry, length=num_stretches)
        (trajectories, tangent), credit, drawn_at, (losses, slope, moment) = carry
        finite = jnp.all(jnp.isfinite(losses), axis=0) & jnp.isfinite(slope)
        healthy = roster.running & finite
        moment = rows.total(moment, healthy)
        found = tally(roster, start, trajectories, losses, moment, healthy, slope)
        if tableau.rejoin is not None:
            trajectories, tangent = probe.rejoin((trajectories, tangent))
        carried = Carried(tangent, credit, drawn_at, kept)
        return found, workers.after(roster, healthy, trajectories, carried)
