"""Learning rates at both ends of a schedule, on a loss that makes their landscape chaotic."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Scalar
from .._problem import AbstractProblem
from ._check import check_integer, check_not_negative


class ToyRegression(AbstractProblem):
    r"""The learning-rate schedule of gradient descent on a function of two variables.

    $$ f(x) = \sqrt{x_0^2 + 5} - \sqrt{5} + \sin^2(x_1)\, e^{-5 x_0^2} + \tfrac{1}{4} |x_1 - 100|,
       \qquad \alpha_t = \tfrac{T - t}{T} e^{\theta_0} + \tfrac{t}{T} e^{\theta_1} $$

    One step is $x \leftarrow x - \alpha_t (\nabla f(x) + \mathrm{weight\_decay} \cdot x)$ and its
    loss is $f$ of the new $x$. The landscape of $\theta$ is chaotic: exact gradients stall and
    truncated ones are biased, while evolution strategies over the whole episode reach a mean
    loss of about 5.65. Rounding alone moves losses near the good region by percents.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `init_log_rates`: $\theta$ at the start of training.
    - `start`: $x$ at the start of an episode.
    - `weight_decay`: pulls $x$ towards zero.

    Source: Vicol, Metz and Sohl-Dickstein, Unbiased gradient estimation in unrolled computation
    graphs with persistent evolution strategies, 2021, arXiv:2112.13835.
    """

    horizon: int = 100
    init_log_rates: tuple[float, float] = (-4.0, -4.0)
    start: tuple[float, float] = (1.0, 1.0)
    weight_decay: float = 1e-10

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_not_negative("weight_decay", self.weight_decay)

    def init_params(self, *, key):
        return jnp.array(self.init_log_rates)

    def init_state(self, params, *, key):
        return jnp.array(self.start)

    def step(self, params, state, t, *, key):
        first, last = jnp.exp(params)
        rate = first * (self.horizon - t) / self.horizon + last * t / self.horizon
        gradient = jax.grad(self.inner_loss)(state) + self.weight_decay * state
        state = state - rate * gradient
        return state, self.inner_loss(state)

    def inner_loss(self, x: Float[Array, " 2"]) -> Scalar:
        """The function $f$ that gradient descent minimizes."""
        valley = jnp.sqrt(x[0] ** 2 + 5) - jnp.sqrt(5.0)
        ripples = jnp.sin(x[1]) ** 2 * jnp.exp(-5 * x[0] ** 2)
        return valley + ripples + 0.25 * jnp.abs(x[1] - 100)
