"""Probes: how the directional derivative of a stretch's loss is measured."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key, PyTree

from .. import _rows as rows
from .._custom_types import Params, RowLosses, WorkerValues
from .._engine import AbstractEngine, Trajectories

Perturbation = PyTree[Float[Array, "workers ..."]]


class AbstractProbe(eqx.Module):
    """Runs the arms of every worker and measures the slope of the loss along its perturbation.

    Between stretches the arms are trajectories and a `tangent`: the derivative of their state
    along the perturbations so far, or `None` where differences are taken instead.
    """

    num_arms: eqx.AbstractClassVar[int]
    needs_derivatives: eqx.AbstractClassVar[bool]

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
    ) -> tuple[tuple[Trajectories, PyTree[Any]], RowLosses, WorkerValues]:
        """The arms after a stretch, their losses, and the slope: half the difference of a pair."""

    @abc.abstractmethod
    def rejoin(self, arms: tuple[Trajectories, PyTree[Any]]) -> tuple[Trajectories, PyTree[Any]]:
        """Brings the arms together, so that what came before no longer tells them apart."""


class Antithetic(AbstractProbe):
    """Two arms, at plus and minus the perturbation, from start to end of an episode."""

    num_arms: ClassVar[int] = 2
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        return engine.start(params, keys, _pair(perturbation)), None

    def unroll(self, engine, params, arms, num_steps, perturbation):
        shift = _pair(perturbation)
        trajectories, losses = engine.unroll(params, arms[0], num_steps, shift)
        return (trajectories, None), losses, (losses[0] - losses[1]) / 2

    def rejoin(self, arms):
        raise ValueError("an antithetic pair has no arm to rejoin at: use CentredAntithetic")


class CentredAntithetic(AbstractProbe):
    """A pair that branches off a third, unperturbed arm and rejoins there."""

    num_arms: ClassVar[int] = 3
    needs_derivatives: ClassVar[bool] = False

    def start(self, engine, params, keys, perturbation):
        return engine.start(params, keys, _pair(perturbation, rows.zeros_like(perturbation))), None

    def unroll(self, engine, params, arms, num_steps, perturbation):
        shift = _pair(perturbation, rows.zeros_like(perturbation))
        trajectories, losses = engine.unroll(params, arms[0], num_steps, shift)
        return (trajectories, None), losses, (losses[0] - losses[1]) / 2

    def rejoin(self, arms):
        trajectories, _ = arms
        centre = rows.arm((trajectories.state, trajectories.over), 2)
        state, over = rows.repeat(centre, 3)
        return Trajectories(state, over, trajectories.t, trajectories.end, trajectories.key), None


class Tangent(AbstractProbe):
    """One unperturbed arm and its exact derivative along the perturbation (a JVP)."""

    num_arms: ClassVar[int] = 1
    needs_derivatives: ClassVar[bool] = True

    def start(self, engine, params, keys, perturbation):
        def start(shift):
            trajectories = engine.start(params, keys, shift)
            state, rest = rows.split_floats(trajectories.state)
            return state, (rest, trajectories)

        shift = rows.arms(perturbation)
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

        shift = rows.arms(perturbation)
        (state, losses), (tangent, slope), (rest, trajectories) = jax.jvp(
            unroll,
            (state, rows.zeros_like(shift)),
            (rows.arms(tangent), shift),
            has_aux=True,
        )
        trajectories = _with_state(trajectories, eqx.combine(state, rest))
        return (trajectories, rows.arm(tangent, 0)), losses, slope[0]

    def rejoin(self, arms):
        return arms[0], rows.zeros_like(arms[1])


def _pair(perturbation: Perturbation, *others: Perturbation) -> PyTree:
    return rows.arms(perturbation, jax.tree.map(jax.numpy.negative, perturbation), *others)


def _with_state(trajectories: Trajectories, state: PyTree) -> Trajectories:
    return Trajectories(
        state, trajectories.over, trajectories.t, trajectories.end, trajectories.key
    )
