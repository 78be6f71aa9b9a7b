"""A recurrent net of any cell that reads stretches of a text file."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from .. import data
from .._problem import AbstractProblem
from ._check import check_integer
from ._recurrent import RecurrentNet, blank_memory, check_cell
from .character_lstm import GETTYSBURG


class CharacterNet(AbstractProblem):
    r"""Predicting the next character of a text from a file, one character a step.

    $$ (m_{t+1}, y_t) = \mathrm{net}_\theta(e_{x_t}, m_t), \qquad
       \ell_t = - \log \mathrm{softmax}(y_t) [x_{t+1}] $$

    An episode reads `horizon` characters from a place drawn for it, with a memory that begins
    blank. The loss of a step is in nats: the logarithm of the number of different characters for a
    net that knows nothing. Parameters are a net of Equinox's modules, of one cell and a linear
    readout; inputs are one-hot codes $e$. `CharacterLSTM` is the small model of a paper, with an
    embedding.

    **Arguments:**

    - `path`: a text file in UTF-8, with more than `horizon` characters; by default the first 1001
      characters of Lincoln's address at Gettysburg are read.
    - `horizon`: characters that an episode predicts.
    - `cell`: `tanh`, `gru`, `lstm`, or `independent`, whose units read themselves alone.
    - `num_hidden`: units of the cell.

    **Raises:** `ValueError` for a text that is too short or not in UTF-8; `FileNotFoundError` for a
    missing file.

    Source: Mujika, Meier and Steger, Approximating real-time recurrent learning with random
    Kronecker factors, 2018, arXiv:1805.10842, for such models under online gradients.
    """

    codes: Int[np.ndarray, " characters"]
    num_codes: int
    horizon: int
    cell: str
    num_hidden: int

    def __init__(
        self,
        path: str | None = None,
        horizon: int = 100,
        cell: str = "gru",
        num_hidden: int = 32,
    ):
        text = GETTYSBURG if path is None else data.text(path)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        known, codes = np.unique(points, return_inverse=True)
        self.codes, self.num_codes = codes.astype(np.int32), len(known)
        self.horizon, self.cell, self.num_hidden = horizon, cell, num_hidden

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("num_hidden", self.num_hidden)
        check_cell(self.cell)
        if self.horizon >= self.codes.size:
            raise ValueError(
                f"horizon must be less than the number of characters of the text, "
                f"{self.codes.size}, got {self.horizon}"
            )

    def init_params(self, *, key):
        return RecurrentNet(self.cell, (self.num_codes, self.num_hidden, self.num_codes), key=key)

    def init_state(self, params, *, key):
        start = jax.random.randint(key, (), 0, self.codes.size - self.horizon)
        return {"start": start, "memory": blank_memory(self.cell, self.num_hidden)}

    def step(self, params, state, t, *, key):
        codes, place = jnp.asarray(self.codes), state["start"] + t
        memory, output = params(jax.nn.one_hot(codes[place], self.num_codes), state["memory"])
        loss = jax.nn.logsumexp(output) - output[codes[place + 1]]
        return {"start": state["start"], "memory": memory}, loss
