"""A recurrent net that must add up two of the many numbers that it sees."""

import jax
import jax.numpy as jnp

from .._problem import AbstractProblem
from ._check import check_integer
from ._recurrent import RecurrentNet, blank_memory, check_cell


class AddingTask(AbstractProblem):
    r"""Adding two marked numbers of a sequence, at whose end alone there is a loss.

    $$ (m_{t+1}, y_t) = \mathrm{net}_\theta(x_t, m_t), \qquad x_t = (u_t, [t \in \{i, j\}]), \qquad
       \ell_{T-1} = T \big( y_{T-1} - (u_i + u_j) \big)^2 $$

    Numbers $u$ are uniform between 0 and 1. One of the marked steps, $i$, is in the first half of
    the episode and the other, $j$, in the second half. With the factor $T$ the mean loss of a step
    is the squared error of the sum: 1/6 for a net that always says 1, and zero at best. There is
    nothing to learn within a window that ends before the last step.

    Parameters are a net of Equinox's modules, of one cell and a linear readout.

    **Arguments:**

    - `horizon`: numbers in a sequence, at least 2.
    - `cell`: `tanh`, `gru`, `lstm`, or `independent`, whose units read themselves alone.
    - `num_hidden`: units of the cell.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997, with
    numbers from 0 to 1 and a mark in each half.
    """

    horizon: int = 50
    cell: str = "tanh"
    num_hidden: int = 16

    def __check_init__(self):
        check_integer("horizon", self.horizon, least=2)
        check_integer("num_hidden", self.num_hidden)
        check_cell(self.cell)

    def init_params(self, *, key):
        return RecurrentNet(self.cell, (2, self.num_hidden, 1), key=key)

    def init_state(self, params, *, key):
        half, keys = self.horizon // 2, jax.random.split(key)
        marked = [
            jax.random.randint(keys[0], (), 0, half),
            jax.random.randint(keys[1], (), half, self.horizon),
        ]
        blank = blank_memory(self.cell, self.num_hidden)
        return {"marked": jnp.stack(marked), "sum": jnp.zeros(()), "memory": blank}

    def step(self, params, state, t, *, key):
        number, is_marked = jax.random.uniform(key), jnp.any(state["marked"] == t)
        total = state["sum"] + jnp.where(is_marked, number, 0.0)
        shown = jnp.stack([number, jnp.where(is_marked, 1.0, 0.0)])
        memory, output = params(shown, state["memory"])
        error = jnp.sum((output - total) ** 2)
        loss = jnp.where(t == self.horizon - 1, self.horizon * error, 0.0)
        return {"marked": state["marked"], "sum": total, "memory": memory}, loss
