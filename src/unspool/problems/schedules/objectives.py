"""Objectives that hyperparameters are tuned for."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import RandomKey, Scalar
from .._check import check_positive
from .data import Data
from .model import Model


class StepContext(NamedTuple):
    """A training run after one of its steps.

    - `model`, `data`: what is trained, and on what.
    - `weights`: the model's, after the step.
    - `hyper`: the hyperparameters of the model at the step, by name.
    - `horizon`: steps of the whole run, the mean if they differ from run to run.
    """

    model: Model
    data: Data
    weights: Any
    hyper: dict[str, Any]
    horizon: float


class AbstractObjective(eqx.Module):
    """A loss for every step of a training run; the time average is what is minimized."""

    def check(self, model: Model, data: Data) -> None:
        """Raises `ValueError` if something that is needed is missing."""

    def init(self, key: RandomKey) -> Any:
        """The memory at the start of an episode; empty by default."""
        return ()

    @abc.abstractmethod
    def loss(self, context: StepContext, memory: Any, key: RandomKey) -> tuple[Any, Scalar]:
        """Returns the memory after a step, and the loss of the step."""


class AbstractMean(AbstractObjective):
    """The mean over the run of something that is measured on a fresh batch after every step."""

    @abc.abstractmethod
    def measure(self, context: StepContext, key: RandomKey) -> Scalar:
        """The measurement, on the batch that `key` draws."""

    def loss(self, context, memory, key):
        return memory, self.measure(context, key)


class TrainLoss(AbstractMean):
    """The mean training loss: how fast the model learns."""

    def measure(self, context, key):
        return context.model.loss(context.weights, context.data.draw_train(key), **context.hyper)


class ValidLoss(AbstractMean):
    """The mean loss of examples held out."""

    def check(self, model, data):
        _check_valid(self, data)

    def measure(self, context, key):
        batch = context.data.draw_valid(key)
        return context.model.loss_held_out(context.weights, batch, **context.hyper)


class ValidAccuracy(AbstractMean):
    """Minus the mean accuracy on examples held out, which has no derivative."""

    def check(self, model, data):
        _check_valid(self, data)
        if model.accuracy is None:
            raise ValueError("the objective ValidAccuracy needs a model with an accuracy, got None")

    def measure(self, context, key):
        assert context.model.accuracy is not None
        batch = context.data.draw_valid(key)
        return -context.model.accuracy(context.weights, batch, **context.hyper)


class Clipped(AbstractMean):
    r"""Another objective, clipped from above: $\min(F, \mathrm{most})$.

    Runs that go astray then weigh no more than runs that learn nothing, though they have no
    gradient left either. Clips what is measured on a batch; to clip example by example is a matter
    of the model's `valid_loss`.

    **Arguments:** `objective`, and `most`, in its units.
    """

    objective: AbstractMean
    most: float

    def check(self, model, data):
        self.objective.check(model, data)

    def measure(self, context, key):
        return jnp.minimum(self.objective.measure(context, key), self.most)


class Logarithm(AbstractMean):
    r"""The logarithm of another objective, which must be positive: $\log(F + \epsilon)$.

    Tasks whose losses differ in scale then count alike, and the end of a run as much as its start.

    **Arguments:** `objective`, and `epsilon` above zero, in its units.
    """

    objective: AbstractMean
    epsilon: float = 1e-6

    def check(self, model, data):
        check_positive("epsilon", self.epsilon)
        self.objective.check(model, data)

    def measure(self, context, key):
        return jnp.log(self.objective.measure(context, key) + self.epsilon)


class Normalized(AbstractMean):
    r"""Another objective in a unit that suits its task: $F / \mathrm{unit}$.

    For several tasks at once, each with the loss of a model that has learned nothing for instance,
    which for $k$ classes is $\log k$.

    **Arguments:** `objective`, and `unit` above zero.
    """

    objective: AbstractMean
    unit: float

    def check(self, model, data):
        check_positive("unit", self.unit)
        self.objective.check(model, data)

    def measure(self, context, key):
        return self.objective.measure(context, key) / self.unit


class Final(AbstractObjective):
    r"""Another objective at the end of the run alone, summed up from its changes.

    $$ F_T = \sum_{t=1}^{T} (F_t - F_{t-1}), \qquad F_0 := 0, \qquad
       \ell_t = T\, (F_{t+1} - F_t) $$

    so that every window says something of the end. The batch that $F$ is measured on stays the same
    for an episode. More noise than a mean: a window's loss is $T$ times a small difference.

    **Arguments:** `objective`, the one whose last value counts.

    Source: Vicol, Metz and Sohl-Dickstein (2021), arXiv:2112.13835.
    """

    objective: AbstractMean

    def check(self, model, data):
        self.objective.check(model, data)

    def init(self, key):
        return {"key": key, "before": jnp.zeros(())}

    def loss(self, context, memory, key):
        now = self.objective.measure(context, memory["key"])
        change = now - memory["before"].astype(now.dtype)
        memory = memory | {"before": now.astype(memory["before"].dtype)}
        return memory, context.horizon * change


def _check_valid(objective: AbstractObjective, data: Data) -> None:
    if data.valid is None:
        name = type(objective).__name__
        raise ValueError(f"the objective {name} needs examples held out, got valid=None")
