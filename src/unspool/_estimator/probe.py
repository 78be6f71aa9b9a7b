"""Probes: how the directional derivative of a stretch's loss is measured."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from .. import _rows as rows
from .._custom_types import Params, RowLosses, WorkerValues
from .._engine import AbstractEngine, Trajectories
from .rounding import Perturbation


class Reading(NamedTuple):
    """What a probe has found out about a stretch.

    - `losses`: each row's sum.
    - `slope`: half the difference of a pair, or the derivative along the perturbation.
    - `control`: each worker's own guess of the gradient that owes nothing to the perturbation, or
      `None`. What the guess says of the slope is taken off, and the guess itself put in its place.
    """

    losses: RowLosses
    slope: WorkerValues
    control: PyTree[Any] = None


class AbstractProbe(eqx.Module):
    """Runs the arms of every worker and measures the slope of the loss along its perturbation.

    Between stretches the arms are trajectories and a `tangent`: the derivative of their state
    along the perturbations so far, or `None` where differences are taken instead.
    """

    num_arms: eqx.AbstractClassVar[int]
    needs_derivatives: eqx.AbstractClassVar[bool]
    smooths: ClassVar[bool] = True

    @abc.abstractmethod
    def start(
        self,
        engine: AbstractEngine,
        params: Params,
        keys: Key[Array, " workers"],
        perturbation: Perturbation,
    ) -> tuple[Trajectories, PyTree[Any]]:
        """New episodes, whose start states the perturbation moves too."""

    @abc.abstractmethod
    def unroll(
        self,
        engine: AbstractEngine,
        params: Params,
        arms: tuple[Trajectories, PyTree[Any]],
        num_steps: int,
        perturbation: Perturbation,
    ) -> tuple[tuple[Trajectories, PyTree[Any]], Reading]:
        """The arms after a stretch, and what they say of it."""

    @abc.abstractmethod
    def rejoin(self, arms: tuple[Trajectories, PyTree[Any]]) -> tuple[Trajectories, PyTree[Any]]:
        """Brings the arms together, so that what came before no longer tells them apart."""


class Antithetic(AbstractProbe):
    """Two arms, at plus and minus the perturbation, from start to end of an episode."""

    num_arms: ClassVar[int] = 2
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        return engine.start(params, keys, perturbation.shifts()), None

    def unroll(self, engine, params, arms, num_steps, perturbation):
        shift = perturbation.shifts()
        trajectories, losses = engine.unroll(params, arms[0], num_steps, shift)
        return (trajectories, None), Reading(losses, (losses[0] - losses[1]) / 2)

    def rejoin(self, arms):
        raise ValueError("an antithetic pair has no arm to rejoin at: use CentredAntithetic")


class CentredAntithetic(AbstractProbe):
    """A pair that branches off a third, unperturbed arm and rejoins there."""

    num_arms: ClassVar[int] = 3
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        shift = perturbation.shifts(rows.zeros_like(perturbation.along))
        return engine.start(params, keys, shift), None

    def unroll(self, engine, params, arms, num_steps, perturbation):
        shift = perturbation.shifts(rows.zeros_like(perturbation.along))
        trajectories, losses = engine.unroll(params, arms[0], num_steps, shift)
        return (trajectories, None), Reading(losses, (losses[0] - losses[1]) / 2)

    def rejoin(self, arms):
        trajectories, _ = arms
        centre = rows.repeat(rows.arm(trajectories.arms, 2), 3)
        return Trajectories.of(centre, trajectories.clock), None


class ControlledAntithetic(AbstractProbe):
    """A pair beside a third, unperturbed arm, through whose stretch one runs backwards.

    All three go their own ways from start to end of an episode. The control is the gradient of
    the third arm's stretch; the state that comes in is constant, that of a new episode is not.
    """

    num_arms: ClassVar[int] = 3
    needs_derivatives: ClassVar[bool] = True

    def start(self, engine, params, keys, perturbation):
        shift = perturbation.shifts(rows.zeros_like(perturbation.along))
        return engine.start(params, keys, shift), None

    def unroll(self, engine, params, arms, num_steps, perturbation):
        trajectories, _ = arms
        pair, centre = _split(trajectories, 2)
        still = rows.arms(rows.zeros_like(perturbation.along))
        state, rest = rows.split_floats(centre.state)

        def unroll(state, shift):
            before = _with_state(centre, eqx.combine(state, rest))
            after, losses = engine.unroll(params, before, num_steps, shift)
            return losses, after

        def start(shift):
            return rows.split_floats(engine.start(params, trajectories.key, shift).state)[0]

        losses, pull, centre = jax.vjp(unroll, state, still, has_aux=True)
        of_state, control = (rows.arm(x, 0) for x in pull(jnp.ones_like(losses)))
        newborn = trajectories.t == 0

        def through_the_start(control):
            (more,) = jax.vjp(start, still)[1](rows.arms(of_state))
            more = rows.where(newborn, rows.arm(more, 0), rows.zeros_like(control))
            return jax.tree.map(jnp.add, control, more)

        control = jax.lax.cond(jnp.any(newborn), through_the_start, lambda x: x, control)
        # The steps of a frozen row count for nothing, and their derivative need not exist.
        frozen = trajectories.over[-1]
        control = rows.where(frozen, rows.zeros_like(control), control)
        pair, pair_losses = engine.unroll(params, pair, num_steps, perturbation.shifts())
        reading = Reading(
            rows.join_arms(pair_losses, losses), (pair_losses[0] - pair_losses[1]) / 2, control
        )
        joined = rows.join_arms(pair.arms, centre.arms)
        return (Trajectories.of(joined, pair.clock), None), reading

    def rejoin(self, arms):
        raise ValueError("a control is for arms that stay apart: use CentredAntithetic")


class Tangent(AbstractProbe):
    """One unperturbed arm and its exact derivative along the perturbation (a JVP)."""

    num_arms: ClassVar[int] = 1
    needs_derivatives: ClassVar[bool] = True
    smooths: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        def start(shift):
            trajectories = engine.start(params, keys, shift)
            state, rest = rows.split_floats(trajectories.state)
            return state, (rest, trajectories)

        shift = rows.arms(perturbation.along)
        state, tangent, (rest, trajectories) = jax.jvp(
            start, (rows.zeros_like(shift),), (shift,), has_aux=True
        )
        return _with_state(trajectories, eqx.combine(state, rest)), rows.arm(tangent, 0)

    def unroll(self, engine, params, arms, num_steps, perturbation):
        trajectories, tangent = arms
        state, rest = rows.split_floats(trajectories.state)

        def unroll(state, shift):
            before = _with_state(trajectories, eqx.combine(state, rest))
            after, losses = engine.unroll(params, before, num_steps, shift)
            state, after_rest = rows.split_floats(after.state)
            return (state, losses), (after_rest, after)

        shift = rows.arms(perturbation.along)
        (state, losses), (tangent, slope), (rest, trajectories) = jax.jvp(
            unroll,
            (state, rows.zeros_like(shift)),
            (rows.arms(tangent), shift),
            has_aux=True,
        )
        trajectories = _with_state(trajectories, eqx.combine(state, rest))
        return (trajectories, rows.arm(tangent, 0)), Reading(losses, slope[0])

    def rejoin(self, arms):
        return arms[0], rows.zeros_like(arms[1])


def _split(trajectories: Trajectories, count: int) -> tuple[Trajectories, Trajectories]:
    """The first `count` arms, and the others."""
    rest = trajectories.over.shape[0] - count
    first = rows.block(trajectories.arms, 0, count, axis=0)
    others = rows.block(trajectories.arms, count, rest, axis=0)
    return Trajectories.of(first, trajectories.clock), Trajectories.of(others, trajectories.clock)


def _with_state(trajectories: Trajectories, state: PyTree) -> Trajectories:
    return Trajectories.of((state, *trajectories.arms[1:]), trajectories.clock)
