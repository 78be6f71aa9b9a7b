"""A recurrent net that must remember symbols for a while."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._problem import AbstractProblem
from ._check import check_integer
from ._recurrent import RecurrentNet, blank_memory, check_cell


class CopyTask(AbstractProblem):
    r"""Copying symbols after a lag in which nothing is shown.

    $$ (m_{t+1}, y_t) = \mathrm{net}_\theta(x_t, m_t), \qquad
       \ell_t = -\frac{T}{K} \log \mathrm{softmax}(y_t)[c_{t - K - L}] \quad (t \ge K + L) $$

    An episode shows $K$ random symbols $c$, one a step, then nothing for $L$ steps, then asks for
    each of them in turn. Other steps have no loss; with the factor $T / K$, for episodes of
    $T = 2 K + L$ steps, the mean loss of a step is that of a symbol in nats: $\log$ `num_symbols`
    for a net that has forgotten everything, and zero at best. Windows shorter than the lag show
    truncated gradients nothing of what is to be learned.

    Parameters are a net of Equinox's modules, of one cell and a linear readout; inputs are a
    symbol's one-hot code and an entry that asks.

    **Arguments:**

    - `lag`: steps between the last symbol shown and the first asked for, from 0.
    - `num_copied`: symbols in an episode.
    - `num_symbols`: symbols there are to choose from.
    - `cell`: `tanh`, `gru`, `lstm`, or `independent`, whose units read themselves alone.
    - `num_hidden`: units of the cell.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997, for
    such a task; Mujika, Meier and Steger, Approximating real-time recurrent learning with random
    Kronecker factors, 2018, arXiv:1805.10842, for its use on online gradients.
    """

    lag: int = 4
    num_copied: int = 3
    num_symbols: int = 2
    cell: str = "tanh"
    num_hidden: int = 8
    horizon: int = eqx.field(init=False)

    def __post_init__(self):
        self.horizon = 2 * self.num_copied + self.lag

    def __check_init__(self):
        check_integer("lag", self.lag, least=0)
        check_integer("num_copied", self.num_copied)
        check_integer("num_symbols", self.num_symbols, least=2)
        check_integer("num_hidden", self.num_hidden)
        check_cell(self.cell)

    def init_params(self, *, key):
        sizes = self.num_symbols + 1, self.num_hidden, self.num_symbols
        return RecurrentNet(self.cell, sizes, key=key)

    def init_state(self, params, *, key):
        symbols = jax.random.randint(key, (self.num_copied,), 0, self.num_symbols)
        return {"symbols": symbols, "memory": blank_memory(self.cell, self.num_hidden)}

    def step(self, params, state, t, *, key):
        first_asked = self.num_copied + self.lag
        is_shown, is_asked = t < self.num_copied, t >= first_asked
        symbols = state["symbols"]
        symbol = symbols[jnp.where(is_asked, t - first_asked, jnp.minimum(t, self.num_copied - 1))]
        code = jax.nn.one_hot(symbol, self.num_symbols)
        shown = jnp.append(jnp.where(is_shown, code, 0.0), jnp.where(is_asked, 1.0, 0.0))
        memory, output = params(shown, state["memory"])
        nats = jax.nn.logsumexp(output) - jnp.vdot(output, code)
        loss = jnp.where(is_asked, nats * self.horizon / self.num_copied, 0.0)
        return {"symbols": symbols, "memory": memory}, loss
