"""Meta-training: the parameters of an optimizer, learned from parts of the runs it makes."""

import jax
import jax.numpy as jnp
import optax

from ..._problem import AbstractProblem
from ..._random import seeded_key
from .._check import check_integer
from ..schedules import AbstractObjective, ValidLoss
from ..schedules.objectives import StepContext
from .lengths import AbstractLengths, Fixed
from .optimizer import AbstractLearnedOptimizer
from .task import Task


class OptimizerTraining(AbstractProblem):
    r"""The training of a model by a learned optimizer, whose parameters are $\theta$.

    $$ w_{t+1} = w_t + \mathrm{update}_\theta\big( \nabla \mathrm{loss}(w_t, \mathrm{batch}_t),
       s_t, w_t, t \big), \qquad \ell_t = \mathrm{objective}(w_{t+1}) $$

    One step of the problem is one step of training; weights and the optimizer's state are the
    state. A run whose training loss is no longer finite has no loss, whatever the objective: its
    worker is dropped, and counted.

    **Arguments:**

    - `optimizer`: the learned optimizer.
    - `task`: the model and the data it trains.
    - `horizon`: steps of the longest run.
    - `objective`: the meta-loss; by default the mean loss of examples held out.
    - `lengths`: how long runs are; by default all as long as the horizon.
    - `sequence_seed`: if given, every run has the same weights at the start and the same batches,
      drawn with this seed, as in the experiments of Li et al. By default each has its own.
    - `init_seed`: if given, meta-training starts from the parameters drawn with this seed, as
      there. By default from those that the training's own key draws.

    **Raises:** `ValueError` for a horizon that lengths do not fit, or an objective whose data are
    missing.

    Source: Metz et al., Understanding and correcting pathologies in the training of learned
    optimizers, 2019, arXiv:1810.10180.
    """

    optimizer: AbstractLearnedOptimizer
    task: Task
    horizon: int = 1000
    objective: AbstractObjective = ValidLoss()
    lengths: AbstractLengths = Fixed()
    sequence_seed: int | None = None
    init_seed: int | None = None

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        if not isinstance(self.optimizer, AbstractLearnedOptimizer):
            raise ValueError(
                f"optimizer must be a learned optimizer, such as MLPOptimizer(), got "
                f"{self.optimizer!r}"
            )
        if not isinstance(self.objective, AbstractObjective):
            raise ValueError(f"objective must be one, such as ValidLoss(), got {self.objective!r}")
        self.objective.check(self.task.model, self.task.data)
        self.lengths.check(self.horizon)

    def init_params(self, *, key):
        if self.init_seed is not None:
            key = seeded_key(self.init_seed)
        return self.optimizer.init_params(key=key)

    def init_state(self, params, *, key):
        weights_key, objective_key = jax.random.split(self._key_at(-1, key))
        weights = self.task.model.init(weights_key)
        return {
            "weights": weights,
            "optimizer": self.optimizer.init(weights),
            "objective": self.objective.init(objective_key),
        }

    def step(self, params, state, t, *, key):
        model, data, weights = self.task.model, self.task.data, state["weights"]
        train_key, objective_key = jax.random.split(self._key_at(t, key))
        batch = data.draw_train(train_key)
        loss, gradients = jax.value_and_grad(model.loss)(weights, batch)
        updates, memory = self.optimizer.update(params, gradients, state["optimizer"], weights, t)
        weights = optax.apply_updates(weights, updates)
        context = StepContext(model, data, weights, {}, self.lengths.mean(self.horizon))
        remembered, measured = self.objective.loss(context, state["objective"], objective_key)
        measured = jnp.where(jnp.isfinite(loss), measured, jnp.nan)
        return {"weights": weights, "optimizer": memory, "objective": remembered}, measured

    @property
    def episodes(self):
        return self.lengths.episodes(self.horizon)

    def _key_at(self, t, key):
        """The key of a step, or of the start, in the one sequence there is or in this run's."""
        if self.sequence_seed is None:
            return key
        return jax.random.fold_in(seeded_key(self.sequence_seed), jnp.asarray(t) + 1)
