"""A training run as one unrolled computation, with hyperparameters for parameters."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

from ..._custom_types import IntScalar, Params, Scalar
from ..._problem import AbstractProblem
from ..._random import seeded_key
from .._check import check_integer
from .data import Batch, Data
from .model import Model
from .objectives import AbstractObjective, StepContext, TrainLoss
from .space import (
    PerTensor,
    Space,
    check_space,
    coordinate_names_in,
    init_space,
    natural_units_in,
    values_in,
)


class TrainingStep(NamedTuple):
    """The result of one step of training.

    - `weights`: the model's, after the step.
    - `optimizer`: the optimizer's state after it.
    - `loss`: the training loss of its batch, before it.
    """

    weights: Any
    optimizer: Any
    loss: Scalar


class ModelTraining(AbstractProblem):
    r"""The training of a model, whose hyperparameters are to be tuned from parts of the run.

    $$ w_{t+1} = w_t + \mathrm{optimizer}_{h_t}\big( \nabla \mathrm{loss}(w_t, \mathrm{batch}_t)
       \big), \qquad h_t = \mathrm{schedule}_\theta(t / T), \qquad
       \ell_t = \mathrm{objective}(w_{t+1}) $$

    One step of the problem is one step of training. The parameters $\theta$ are the coordinates
    of all schedules, a dictionary by name; `natural_units` turns them into values of the
    hyperparameters. Weights and optimizer are the state. A run whose training loss is no longer
    finite has no loss, whatever the objective: its worker is dropped, and counted.

    **Arguments:**

    - `model`: weights, loss and accuracy.
    - `data`: examples to train on and to hold out.
    - `make_optimizer`: makes an optax optimizer of the hyperparameters in `space`, by name:
      `optax.sgd`, `optax.adamw`, or a function of yours.
    - `space`: schedules by name, `{"learning_rate": Cosine(0.1, 0.001)}`.
    - `horizon`: steps of a training run.
    - `objective`: what to tune for; the mean training loss by default.

    **Raises:** `ValueError` for a space that is none, names in use twice, or an objective whose
    data are missing.

    Source: the tuning problems of Vicol, Metz and Sohl-Dickstein (2021), arXiv:2112.13835.
    """

    model: Model
    data: Data
    make_optimizer: Callable[..., optax.GradientTransformation]
    space: Space
    horizon: int
    objective: AbstractObjective = TrainLoss()

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_space("space", self.space)
        if both := sorted(set(self.space) & set(self.model.space)):
            raise ValueError(f"space and the model's space must differ in names, both have {both}")
        if not self.space and not self.model.space:
            raise ValueError("space must have a hyperparameter at least, got none")
        if not isinstance(self.objective, AbstractObjective):
            raise ValueError(f"objective must be one, such as TrainLoss(), got {self.objective!r}")
        self.objective.check(self.model, self.data)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the weights' tensors, in the order of `PerTensor` vectors."""
        weights = jax.eval_shape(self.model.init, jax.eval_shape(lambda: seeded_key(0)))
        return tuple(_name(path) for path, _ in tree_leaves_with_path(weights))

    def init_params(self, *, key):
        return init_space(self.space | self.model.space, len(self.tensors))

    def natural_units(self, params: Params) -> Params:
        """The parameters in the hyperparameters' natural units, in the same tree."""
        return natural_units_in(self.space | self.model.space, jax.tree.map(jnp.asarray, params))

    @property
    def coordinate_names(self) -> Params:
        """What each parameter is of its hyperparameter, in the same tree: `log {}`, `logit {}`."""
        return coordinate_names_in(self.space | self.model.space)

    def hyper(self, params: Params, t: IntScalar | int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The hyperparameters of the optimizer and of the model at step `t`, by name."""
        params = jax.tree.map(jnp.asarray, params)
        values = values_in(self.space | self.model.space, params, t, self.horizon)
        return (
            {name: values[name] for name in self.space},
            {name: values[name] for name in self.model.space},
        )

    def optimizer(self, hyper: dict[str, Any], adapt=None) -> optax.GradientTransformation:
        """The optimizer with these hyperparameters.

        Those of `PerTensor` are vectors, or sequences of anything that `make_optimizer` takes;
        `adapt`, if given, is put between it and them.
        """
        make = self.make_optimizer if adapt is None else adapt(self.make_optimizer)
        own = {name for name, entry in self.space.items() if isinstance(entry, PerTensor)}
        if not own:
            return make(**hyper)

        def of_tensor(index):
            return {k: value[index] if k in own else value for k, value in hyper.items()}

        each: dict[Hashable, optax.GradientTransformation] = {
            name: make(**of_tensor(i)) for i, name in enumerate(self.tensors)
        }
        return optax.partition(each, lambda tree: tree_map_with_path(lambda p, _: _name(p), tree))

    def init_state(self, params, *, key):
        weights_key, objective_key = jax.random.split(key)
        weights = self.model.init(weights_key)
        hyper, _ = self.hyper(params, 0)
        return {
            "weights": weights,
            "optimizer": self.optimizer(hyper).init(weights),
            "objective": self.objective.init(objective_key),
        }

    def step(self, params, state, t, *, key):
        train_key, objective_key = jax.random.split(key)
        before = state["weights"], state["optimizer"]
        weights, optimizer, loss = self.update(params, before, t, self.data.draw_train(train_key))
        _, hyper = self.hyper(params, t)
        context = StepContext(self.model, self.data, weights, hyper, self.horizon)
        memory, measured = self.objective.loss(context, state["objective"], objective_key)
        measured = jnp.where(jnp.isfinite(loss), measured, jnp.nan)
        return {"weights": weights, "optimizer": optimizer, "objective": memory}, measured

    def update(
        self, params: Params, before: tuple[Any, Any], t: IntScalar | int, batch: Batch
    ) -> TrainingStep:
        """One step on a batch from `before`, the weights and the optimizer's state."""
        weights, optimizer_state = before
        hyper, model_hyper = self.hyper(params, t)
        loss, gradient = jax.value_and_grad(self.model.loss)(weights, batch, **model_hyper)
        optimizer = optax.with_extra_args_support(self.optimizer(hyper))
        updates, optimizer_state = optimizer.update(
            gradient, optimizer_state, weights, value=loss, grad=gradient
        )
        weights = optax.apply_updates(weights, updates)
        return TrainingStep(weights=weights, optimizer=optimizer_state, loss=loss)


def _name(path) -> str:
    return keystr(path, simple=True, separator=".") or "weights"
