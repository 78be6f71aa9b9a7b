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
from unspool import _rows as rows
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
        done = jnp.broadcast_to(after.arms.done[:1], after.arms.done.shape)
        return eqx.tree_at(lambda x: x.arms.done, after, done), losses


class ArmsApart(unspool.LocalEngine):
    """The arms of a worker have different keys."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        other = jax.vmap(lambda key: jax.random.fold_in(key, 1))(trajectories.clock.key)
        other = eqx.tree_at(lambda x: x.clock.key, trajectories, other)
        first, losses = super().unroll(params, trajectories, num_steps, shift)
        second, other_losses = super().unroll(params, other, num_steps, shift)
        pick = lambda x, y: jnp.concatenate([x[:1], y[1:]])
        picked = lambda x: (x.arms.state, x.arms.done)
        rows = jax.tree.map(pick, picked(first), picked(second))
        return eqx.tree_at(picked, first, rows), pick(losses, other_losses)


class OthersNoise(unspool.LocalEngine):
    """From the middle of a period on a worker runs with the noise of its neighbor: a noise is
    not kept for its period, or is used before its episode begins."""

    period: int = 12

    def unroll(self, params, trajectories, num_steps, shift=None):
        late = (2 * (trajectories.clock.t % self.period) >= self.period).astype(float)
        others = jax.tree.map(lambda x: jnp.roll(x, 1, axis=1), shift)
        mixed = jax.tree.map(jnp.add, scaled(shift, 1 - late), scaled(others, late))
        return super().unroll(params, trajectories, num_steps, mixed)


class ShrinkingNoise(unspool.LocalEngine):
    """A sigma that moves on during an episode, while scores keep that of the draw."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        factors = 0.5 ** (trajectories.clock.t / 3)
        return super().unroll(params, trajectories, num_steps, scaled(shift, factors))


class NewestAlone(extend.Antithetic):
    """Credits the losses of some segments to the newest noise and not to those before it.

    It is given out as the guess: what the probe measures beyond it is then nothing.
    """

    sigma: float = 0.1
    at_the_end_only: bool = False

    def unroll(self, engine, params, branches, num_steps, perturbation):
        branches, measured = super().unroll(engine, params, branches, num_steps, perturbation)
        chosen = branches.trajectories.all_done | (not self.at_the_end_only)
        along, derivative = rows.arm(perturbation.along, 0), measured.derivative[0]
        guess = rows.scale(jnp.where(chosen, derivative, 0.0) / self.sigma**2, along)
        derivative = jnp.where(chosen, rows.dot(guess, along), derivative)
        return branches, extend.Measurement(measured.losses, derivative[None], guess)


class Probed(extend.AbstractPerturbed):
    """`PES` with another probe, or with other directions."""

    num_workers: int
    window: int
    probe: extend.AbstractProbe = extend.Antithetic()
    directions: extend.AbstractDirections = unspool.GaussianDirections()
    control: extend.AbstractControl | None = None
    estimand: ClassVar[str] = "smoothed gradient"

    @property
    def tableau(self):
        return extend.Tableau(
            window=self.window,
            period=self.window,
            probe=self.probe,
            sigma=0.1,
            directions=self.directions,
            control=self.control,
        )


class OneForAllBlocks(unspool.GaussianDirections):
    """Every block of an episode has the same noise."""

    def draw(self, params, draw):
        return super().draw(params, draw._replace(block=jnp.zeros_like(draw.block)))


class Stretched(unspool.GaussianDirections):
    """Directions whose covariance is not the identity."""

    def draw(self, params, draw):
        return jax.tree.map(lambda x: 1.2 * x, super().draw(params, draw))


PES = Probed(4, 3)
CONTROL = unspool.WindowGradientControl()
DEFECTS: dict[str, tuple[Any, Any, Any, Any]] = {
    # The problem, the estimator, and what of either has the defect.
    "the last step's loss is credited to the newest noise alone": (
        *(problems.FinalLoss(horizon=6), Probed(4, 1)),
        *(unspool.LocalEngine, Probed(4, 1, NewestAlone(at_the_end_only=True), control=CONTROL)),
    ),
    "every window's loss is credited to the newest noise alone": (
        *(problems.LinearQuadratic(), PES),
        *(unspool.LocalEngine, Probed(4, 3, NewestAlone(), control=CONTROL)),
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
)


@pytest.mark.parametrize("defect", [slow(name, when=name not in QUICK) for name in DEFECTS])
def test_a_defect_is_rejected_and_its_absence_accepted(defect):
    problem, estimator, engine, defective = DEFECTS[defect]
    params = problem.init_params(key=KEY)
    reference = problem.exact_gradient(params, estimator.plan(problem.horizon).target)

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
    assert (float(estimate.stats["derivative_std"]) == 0) == is_sound
    assert np.isfinite(estimate.loss)
