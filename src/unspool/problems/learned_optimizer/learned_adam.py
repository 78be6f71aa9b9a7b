"""Adam, whose four numbers are meta-trained."""

import jax
import jax.numpy as jnp

from ..schedules import Log, Logit
from .optimizer import AbstractLearnedOptimizer

_EPS_ROOT = 1e-8


class LearnedAdam(AbstractLearnedOptimizer):
    r"""Adam, four numbers for all weights and steps.

    $$ u_t = -\eta\, \frac{m_{t+1} / (1 - b_1^{t+1})}
       {\sqrt{v_{t+1} / (1 - b_2^{t+1}) + 10^{-8}} + \varepsilon}, \qquad
       \eta = e^{\mathrm{log\_rate}}, \; 1 - b_i = e^{\mathrm{log\_one\_minus\_b}_i}, \;
       \varepsilon = e^{\mathrm{log\_eps}} $$

    with $m_{t+1} = b_1 m_t + (1 - b_1) g_t$ and $v_{t+1} = b_2 v_t + (1 - b_2) g_t^2$. This is
    `optax.adam(learning_rate, b1, b2, eps, eps_root=1e-8)`. The number under the root lets one
    differentiate where gradients are zero; it makes gradients below 1e-4 take smaller steps. A
    parameter that has come to mean a negative $b_i$ gives NaN, and its worker is dropped.

    State: two numbers per weight.

    **Arguments:** where meta-training starts.

    - `learning_rate`: about the size of a step, in the weights' units; above zero; 0.001 by
      default.
    - `b1`, `b2`: the share of the last step's $m$ and $v$ that is kept; above 0 and below 1; 0.9
      and 0.999 by default.
    - `eps`: in the gradients' units; above zero; 1e-8 by default.

    **Raises:** `ValueError` for numbers out of these ranges.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015, arXiv:1412.6980; as an
    optimizer to be learned, Metz et al., Practical tradeoffs between memory, compute, and
    performance in learned optimizers, 2022, arXiv:2203.11860.
    """

    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __check_init__(self):
        Logit().coordinate("b1", self.b1)
        Logit().coordinate("b2", self.b2)
        self._coordinates()

    def init_params(self, *, key):
        return self._coordinates()

    def init(self, weights):
        return {name: jax.tree.map(jnp.zeros_like, weights) for name in ("first", "second")}

    def update(self, params, gradients, state, weights, t):
        rate, eps = jnp.exp(params["log_rate"]), jnp.exp(params["log_eps"])
        average, first_weight = _moving_average(params["log_one_minus_b1"], t)
        first = jax.tree.map(average, state["first"], gradients)
        average, second_weight = _moving_average(params["log_one_minus_b2"], t)
        squares = jax.tree.map(jnp.square, gradients)
        second = jax.tree.map(average, state["second"], squares)

        def step(m, v):
            root = jnp.sqrt(v / second_weight + _EPS_ROOT)
            return (-rate * (m / first_weight) / (root + eps)).astype(m.dtype)

        return jax.tree.map(step, first, second), {"first": first, "second": second}

    def _coordinates(self):
        return {
            "log_rate": Log().coordinate("learning_rate", self.learning_rate),
            "log_one_minus_b1": Log().coordinate("1 - b1", 1 - self.b1),
            "log_one_minus_b2": Log().coordinate("1 - b2", 1 - self.b2),
            "log_eps": Log().coordinate("eps", self.eps),
        }


def _moving_average(log_gain, t):
    """The update of a moving average, and the sum of its weights after step `t`."""
    gain, decay = jnp.exp(log_gain), -jnp.expm1(log_gain)
    average = lambda old, new: (decay * old + gain * new).astype(old.dtype)
    # Not one minus a power, of which float32 leaves few digits in the first steps.
    return average, -jnp.expm1((t + 1) * jnp.log1p(-gain))
