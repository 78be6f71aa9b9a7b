"""Probes: how the directional derivative of a segment's loss is measured."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from .. import _rows as rows
from .._custom_types import PairValues, Params, RowLosses
from .._engine import AbstractEngine, Trajectories
from .layout import Layout
from .perturbation import Perturbation
from .trajectories import with_state


class Branches(NamedTuple):
    """The state of a probe between segments.

    - `trajectories`: the arms.
    - `tangent`: the derivative of their states along the perturbations so far, or `None` where
      differences are taken instead.
    """

    trajectories: Trajectories
    tangent: PyTree[Any] = None


class Measurement(NamedTuple):
    """Losses of a segment, and their derivatives along perturbations, as a probe measures them.

    - `losses`: each row's sum.
    - `derivative`: half the difference of each pair, or the derivative along its perturbation.
    - `guess`: each group's guess of the gradient that owes nothing to the perturbation, for a
      control variate; or `None`.
    """

    losses: RowLosses
    derivative: PairValues
    guess: PyTree[Any] = None


class AbstractProbe(eqx.Module):
    """Runs the arms of every group and measures derivatives of the loss along perturbations.

    A pair has `own_arms`, beside `shared_arms` of its group that are not perturbed.
    """

    own_arms: eqx.AbstractClassVar[int]
    shared_arms: eqx.AbstractClassVar[int]
    needs_derivatives: eqx.AbstractClassVar[bool]
    smooths: ClassVar[bool] = True

    def layout(self, pairs: int) -> Layout:
        """The arms of a group of so many pairs."""
        return Layout(pairs, self.own_arms, self.shared_arms)

    @abc.abstractmethod
    def start(
        self,
        engine: AbstractEngine,
        params: Params,
        keys: Key[Array, " workers"],
        perturbation: Perturbation,
    ) -> Branches:
        """New episodes, whose start states the perturbation moves too."""

    @abc.abstractmethod
    def unroll(
        self,
        engine: AbstractEngine,
        params: Params,
        branches: Branches,
        num_steps: int,
        perturbation: Perturbation,
    ) -> tuple[Branches, Measurement]:
        """The arms after a segment, and what they say of it."""

    @abc.abstractmethod
    def rejoin(self, branches: Branches) -> Branches:
        """Brings the arms together, so that what came before no longer tells them apart."""


class Antithetic(AbstractProbe):
    """Two arms, at plus and minus the perturbation, from start to end of an episode."""

    own_arms: ClassVar[int] = 2
    shared_arms: ClassVar[int] = 0
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        return Branches(engine.start(params, keys, perturbation.pair_shifts()))

    def unroll(self, engine, params, branches, num_steps, perturbation):
        shifts = perturbation.pair_shifts()
        trajectories, losses = engine.unroll(params, branches.trajectories, num_steps, shifts)
        return Branches(trajectories), Measurement(losses, _half_differences(losses))

    def rejoin(self, branches):
        raise ValueError("an antithetic pair has no arm to rejoin at: use CenteredAntithetic")


class CenteredAntithetic(AbstractProbe):
    """Pairs that branch off an unperturbed arm and rejoin there."""

    own_arms: ClassVar[int] = 2
    shared_arms: ClassVar[int] = 1
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        return Branches(engine.start(params, keys, _shifts_with_center(perturbation)))

    def unroll(self, engine, params, branches, num_steps, perturbation):
        shifts = _shifts_with_center(perturbation)
        trajectories, losses = engine.unroll(params, branches.trajectories, num_steps, shifts)
        return Branches(trajectories), Measurement(losses, _half_differences(losses[:-1]))

    def rejoin(self, branches):
        arms, clock = branches.trajectories.arms, branches.trajectories.clock
        return Branches(Trajectories(rows.repeat(rows.arm(arms, -1), arms.done.shape[0]), clock))


class ControlledAntithetic(AbstractProbe):
    """Pairs beside an unperturbed arm, through whose segment one runs backwards.

    All go their own ways from start to end of an episode. The guess is the gradient of the
    unperturbed arm's segment; the state that comes in is constant, that of a new episode is not.
    """

    own_arms: ClassVar[int] = 2
    shared_arms: ClassVar[int] = 1
    needs_derivatives: ClassVar[bool] = True

    def start(self, engine, params, keys, perturbation):
        return Branches(engine.start(params, keys, _shifts_with_center(perturbation)))

    def unroll(self, engine, params, branches, num_steps, perturbation):
        pairs, center = _split_center(branches.trajectories)
        no_shift = perturbation.no_shift()
        center, center_losses, guess = _differentiate(engine, params, center, num_steps, no_shift)
        shifts = perturbation.pair_shifts()
        pairs, losses = engine.unroll(params, pairs, num_steps, shifts)
        measured = Measurement(
            rows.join_arms(losses, center_losses), _half_differences(losses), guess
        )
        return Branches(_join_center(pairs, center)), measured

    def rejoin(self, branches):
        raise ValueError("a control is for arms that stay apart: use CenteredAntithetic")


class Tangent(AbstractProbe):
    """One unperturbed arm and its exact derivative along the perturbation (a JVP)."""

    own_arms: ClassVar[int] = 1
    shared_arms: ClassVar[int] = 0
    needs_derivatives: ClassVar[bool] = True
    smooths: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        def start(shift):
            trajectories = engine.start(params, keys, shift)
            state, rest = rows.split_floats(trajectories.arms.state)
            return state, (rest, trajectories)

        along = perturbation.along
        state, tangent, (rest, trajectories) = jax.jvp(
            start, (rows.zeros_like(along),), (along,), has_aux=True
        )
        return Branches(with_state(trajectories, eqx.combine(state, rest)), tangent)

    def unroll(self, engine, params, branches, num_steps, perturbation):
        trajectories, tangent = branches
        state, rest = rows.split_floats(trajectories.arms.state)

        def unroll(state, shift):
            before = with_state(trajectories, eqx.combine(state, rest))
            after, losses = engine.unroll(params, before, num_steps, shift)
            state, after_rest = rows.split_floats(after.arms.state)
            return (state, losses), (after_rest, after)

        along = perturbation.along
        primals, tangents = (state, rows.zeros_like(along)), (tangent, along)
        (state, losses), (tangent, derivative), (rest, trajectories) = jax.jvp(
            unroll, primals, tangents, has_aux=True
        )
        trajectories = with_state(trajectories, eqx.combine(state, rest))
        return Branches(trajectories, tangent), Measurement(losses, derivative)

    def rejoin(self, branches):
        return Branches(branches.trajectories, rows.zeros_like(branches.tangent))


def _half_differences(losses: RowLosses) -> PairValues:
    """Half of what the first arm of each pair has lost more than its second."""
    plus, minus = rows.unflatten(losses, 2)
    return (plus - minus) / 2


def _shifts_with_center(perturbation: Perturbation) -> PyTree[Any]:
    return rows.join_arms(perturbation.pair_shifts(), perturbation.no_shift())


def _split_center(trajectories: Trajectories) -> tuple[Trajectories, Trajectories]:
    """The arms of pairs, and the unperturbed one after them."""
    arms, clock = trajectories.arms, trajectories.clock
    count = arms.done.shape[0] - 1
    pairs, center = (rows.take_slice(arms, *place, axis=0) for place in ((0, count), (count, 1)))
    return Trajectories(pairs, clock), Trajectories(center, clock)


def _join_center(pairs: Trajectories, center: Trajectories) -> Trajectories:
    return Trajectories(rows.join_arms(pairs.arms, center.arms), pairs.clock)


def _differentiate(engine, params, center: Trajectories, num_steps: int, no_shift):
    """The unperturbed arm after a segment, its losses, and their gradient."""
    state, rest = rows.split_floats(center.arms.state)

    def unroll(state, shift):
        before = with_state(center, eqx.combine(state, rest))
        after, losses = engine.unroll(params, before, num_steps, shift)
        return losses, after

    def start(shift):
        return rows.split_floats(engine.start(params, center.clock.key, shift).arms.state)[0]

    losses, pull, after = jax.vjp(unroll, state, no_shift, has_aux=True)
    of_state, guess = (rows.arm(x, 0) for x in pull(jnp.ones_like(losses)))
    reset = center.clock.t == 0

    def through_the_start(guess):
        (more,) = jax.vjp(start, no_shift)[1](rows.arms(of_state))
        more = rows.select(reset, rows.arm(more, 0), rows.zeros_like(guess))
        return jax.tree.map(jnp.add, guess, more)

    guess = jax.lax.cond(jnp.any(reset), through_the_start, lambda x: x, guess)
    # The steps of a frozen row count for nothing, and their derivative need not exist.
    frozen = rows.arm(center.arms.done, 0)
    return after, losses, rows.select(frozen, rows.zeros_like(guess), guess)
