"""Gradient descent with momentum, whose two numbers are meta-trained."""

import jax
import jax.numpy as jnp

from ..schedules import Log, Logit
from .optimizer import AbstractLearnedOptimizer


class LearnedSGD(AbstractLearnedOptimizer):
    r"""Gradient descent with momentum (a heavy ball), two numbers for all weights and steps.

    $$ m_{t+1} = \mu\, m_t + g_t, \qquad u_t = -\eta\, m_{t+1}, \qquad
       \eta = e^{\mathrm{log\_rate}}, \quad \mu = \mathrm{logistic}(\mathrm{logit\_momentum}) $$

    This is `optax.sgd(learning_rate, momentum)`. Its parameters are scalars without bounds: a
    perturbation of 0.01 changes the rate by one per cent. It is the baseline that a learned
    optimizer with more parameters has to beat, and small enough to look at all it has learned.

    State: one number per weight.

    **Arguments:**

    - `learning_rate`: where meta-training starts, in units of weights per unit of gradient; above
      zero; 0.1 by default.
    - `momentum`: the share of the last step's $m$ that is kept, where meta-training starts; above
      0 and below 1; 0.9 by default.

    **Raises:** `ValueError` for numbers out of these ranges.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964; as an
    optimizer to be learned, Metz et al., Practical tradeoffs between memory, compute, and
    performance in learned optimizers, 2022, arXiv:2203.11860.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9

    def __check_init__(self):
        self._coordinates()

    def init_params(self, *, key):
        return self._coordinates()

    def init(self, weights):
        return jax.tree.map(jnp.zeros_like, weights)

    def update(self, params, gradients, state, weights, t):
        rate, momentum = jnp.exp(params["log_rate"]), jax.nn.sigmoid(params["logit_momentum"])
        accumulate = lambda m, g: (momentum * m + g).astype(m.dtype)
        state = jax.tree.map(accumulate, state, gradients)
        return jax.tree.map(lambda m: (-rate * m).astype(m.dtype), state), state

    def _coordinates(self):
        return {
            "log_rate": Log().coordinate("learning_rate", self.learning_rate),
            "logit_momentum": Logit().coordinate("momentum", self.momentum),
        }
