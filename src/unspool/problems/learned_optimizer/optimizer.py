"""The interface of learned optimizers: parameters, a state, and an update made of both."""

import abc
from typing import Any

import equinox as eqx

from ..._custom_types import IntScalar, Params, RandomKey


class AbstractLearnedOptimizer(eqx.Module):
    r"""An optimizer with parameters of its own, $\theta$, which are to be meta-trained.

    $$ (u_t, s_{t+1}) = \mathrm{update}_\theta(g_t, s_t, w_t, t), \qquad w_{t+1} = w_t + u_t $$

    A subclass gives three methods, for weights that may be any tree of floating point arrays. Its
    fields are plain values (numbers, strings, tuples of them), and become the settings that
    `unspool.export.save_optimizer` writes down. `OptimizerTraining` meta-trains it, and
    `unspool.export.as_optax` makes an optax optimizer of it.
    """

    @abc.abstractmethod
    def init_params(self, *, key: RandomKey) -> Params:
        """The parameters that meta-training starts from: any pytree of floating point arrays."""

    @abc.abstractmethod
    def init(self, weights: Params) -> Any:
        """The state before the first step: any pytree of arrays."""

    @abc.abstractmethod
    def update(
        self, params: Params, gradients: Params, state: Any, weights: Params, t: IntScalar
    ) -> tuple[Params, Any]:
        """Returns the change of the weights, a tree like theirs, and the next state.

        **Arguments:**

        - `params`: the optimizer's own.
        - `gradients`: of the training loss with regard to the weights, a tree like theirs.
        - `state`: what `init` or the last `update` returned.
        - `weights`: before the step.
        - `t`: steps made before this one.
        """
