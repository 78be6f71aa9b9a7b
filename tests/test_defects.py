"""Real defects of published code, planted through the public interface: is each rejected?

A defect sits in an engine, a probe, directions or a problem of its own, which misbehave as the
library would if it had it. The same check must accept what does not misbehave. As nothing here
names a line of the library, a change of its code cannot unplug a defect without a test that fails.
"""

import functools as ft
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import extend, problems

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


def scaled(shift, factors):
    """The workers' perturbations times a factor for each."""
    one = lambda x: jax.vmap(lambda x, factor: x * factor, in_axes=(1, 0), out_axes=1)(x, factors)
    return jax.tree.map(one, shift)


class StillStart(unspool.LocalEngine):
    """The perturbation does not move the start state: the first window misses its gradient."""

    def start(self, params, keys, shift=None):
        return super().start(params, keys, jax.tree.map(jnp.zeros_like, shift))


class OneArmEnds(unspool.LocalEngine):
    """Only the end of the first arm is respected: when it is over the others are."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        after, losses = super().unroll(params, trajectories, num_steps, shift)
        over = jnp.broadcast_to(after.over[:1], after.over.shape)
        return eqx.tree_at(lambda x: x.over, after, over), losses


class ArmsApart(unspool.LocalEngine):
    """The arms of a worker have different keys."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        other = jax.vmap(lambda key: jax.random.fold_in(key, 1))(trajectories.key)
        other = eqx.tree_at(lambda x: x.key, trajectories, other)
        first, losses = super().unroll(params, trajectories, num_steps, shift)
        second, other_losses = super().unroll(params, other, num_steps, shift)
        pick = lambda x, y: jnp.concatenate([x[:1], y[1:]])
        picked = lambda x: (x.state, x.over)
        rows = jax.tree.map(pick, picked(first), picked(second))
        return eqx.tree_at(picked, first, rows), pick(losses, other_losses)


class OthersNoise(unspool.LocalEngine):
    """From the middle of a period on a worker runs with the noise of its neighbour: a noise is
    not kept for its period, or is used before its episode begins."""

    period: int = 12

    def unroll(self, params, trajectories, num_steps, shift=None):
        late = (2 * (trajectories.t % self.period) >= self.period).astype(float)
        others = jax.tree.map(lambda x: jnp.roll(x, 1, axis=1), shift)
        mixed = jax.tree.map(jnp.add, scaled(shift, 1 - late), scaled(others, late))
        return super().unroll(params, trajectories, num_steps, mixed)


class ShrinkingNoise(unspool.LocalEngine):
    """A sigma that moves on during an episode, while scores keep that of the draw."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        factors = 0.5 ** (trajectories.t / 3)
        return super().unroll(params, trajectories, num_steps, scaled(shift, factors))


class NewestAlone(extend.Antithetic):
    """Credits the losses of some stretches to the newest noise and not to those before it.

    It is given out as the control: what the probe measures beyond it is then nothing.
    """

    sigma: float = 0.1
    at_the_end_only: bool = False

    def unroll(self, engine, params, arms, num_steps, perturbation):
        arms, reading = super().unroll(engine, params, arms, num_steps, perturbation)
        chosen = jnp.all(arms[0].over, axis=0) | (not self.at_the_end_only)
        times = lambda x, factors: jax.vmap(jnp.multiply)(x, factors)
        newest = lambda x: times(x, jnp.where(chosen, reading.slope, 0.0) / self.sigma**2)
        control = jax.tree.map(newest, perturbation.along)
        product = lambda x, y: jnp.sum((x * y).reshape(x.shape[0], -1), axis=1)
        inner = jax.tree.map(product, control, perturbation.along)
        slope = jnp.where(chosen, sum(jax.tree.leaves(inner)), reading.slope)
        return arms, extend.Reading(reading.losses, slope, control)


class Probed(extend.AbstractPerturbed):
    """`PES` with another probe, or with other directions."""

    num_workers: int
    window: int
    probe: extend.AbstractProbe = extend.Antithetic()
    directions: extend.AbstractDirections = extend.GaussianDirections()
    estimand: ClassVar[str] = "smoothed gradient"

    @property
    def tableau(self):
        return extend.Tableau(
            window=self.window,
            period=self.window,
            rejoin=None,
            probe=self.probe,
            sigma=0.1,
            directions=self.directions,
        )


class OneForAllBlocks(extend.GaussianDirections):
    """Every block of an episode has the same noise."""

    def draw(self, params, key, birth, block):
        return super().draw(params, key, birth, jnp.zeros_like(block))


class Stretched(extend.GaussianDirections):
    """Directions whose covariance is not the identity."""

    def draw(self, params, key, birth, block):
        return jax.tree.map(lambda x: 1.2 * x, super().draw(params, key, birth, block))


PES = Probed(4, 3)
DEFECTS: dict[str, tuple[Any, Any, Any, Any]] = {
    # The problem, the estimator, and what of either has the defect.
    "the last step's loss is credited to the newest noise alone": (
        *(problems.FinalLoss(horizon=6), Probed(4, 1)),
        *(unspool.LocalEngine, Probed(4, 1, NewestAlone(at_the_end_only=True))),
    ),
    "every window's loss is credited to the newest noise alone": (
        *(problems.LinearQuadratic(), PES),
        *(unspool.LocalEngine, Probed(4, 3, NewestAlone())),
    ),
    "the noise is not kept": (
        *(problems.LinearQuadratic(), unspool.GPES(4, 3, 6, 0.1)),
        *(ft.partial(OthersNoise, period=6), unspool.GPES(4, 3, 6, 0.1)),
    ),
    "the noise of the next episode is used before it begins": (
        *(problems.LinearQuadratic(), unspool.NRES(4, 3, 0.1)),
        *(OthersNoise, unspool.NRES(4, 3, 0.1)),
    ),
    "the perturbation follows the schedule of sigma and the score does not": (
        *(problems.LinearQuadratic(), unspool.NRES(4, 3, 0.1)),
        *(ShrinkingNoise, unspool.NRES(4, 3, 0.1)),
    ),
    "only the positive arm's end is respected": (
        *(problems.EarlyEnd(), unspool.NRES(4, 3, 0.1)),
        *(OneArmEnds, unspool.NRES(4, 3, 0.1)),
    ),
    "the first window misses the gradient through the start state": (
        *(problems.LearnedStart(), unspool.NRES(4, 3, 0.1)),
        *(StillStart, unspool.NRES(4, 3, 0.1)),
    ),
    "the noise of an episode is the same in every window": (
        *(problems.LinearQuadratic(), PES),
        *(unspool.LocalEngine, Probed(4, 3, directions=OneForAllBlocks())),
    ),
    "directions are too long": (
        *(problems.LinearQuadratic(), PES),
        *(unspool.LocalEngine, Probed(4, 3, directions=Stretched())),
    ),
}


# Whether whole tests of bias notice; of the other mistakes exact means tell.
QUICK = (
    "the noise is not kept",
    "only the positive arm's end is respected",
    "the noise of an episode is the same in every window",
)


@pytest.mark.parametrize("defect", [slow(name, when=name not in QUICK) for name in DEFECTS])
def test_a_defect_is_rejected_and_its_absence_accepted(defect):
    problem, estimator, engine, defective = DEFECTS[defect]
    params = problem.init_params(key=KEY)
    reference = problem.exact_gradient(params, estimator.target(problem.horizon))

    def check(engine, estimator):
        return unspool.check_unbiased(
            engine, estimator, key=KEY, params=params, reference=reference, num_chains=600
        )

    sound = check(unspool.LocalEngine(problem), estimator)
    assert sound.passed, sound
    found = check(engine(problem), defective)
    assert not found.passed, found


@pytest.mark.parametrize(("engine", "is_sound"), [(unspool.LocalEngine, True), (ArmsApart, False)])
def test_arms_with_different_keys_are_told_by_losses_that_the_parameters_do_not_move(
    engine, is_sound
):
    problem = problems.LinearQuadratic(noise=1.0)
    params = problem.init_params(key=KEY)
    estimator = unspool.NRES(4, 3, sigma=1e-200)
    state = estimator.init(engine(problem), params, key=KEY)
    estimate, _ = estimator.estimate(engine(problem), params, state)
    assert (float(estimate.stats["slope_std"]) == 0) == is_sound
    assert np.isfinite(estimate.loss)
