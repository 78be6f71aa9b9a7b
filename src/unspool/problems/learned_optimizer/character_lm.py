"""A recurrent network that predicts the next character of a text."""

import jax
import jax.numpy as jnp

from .._check import check_integer
from .dense import dense
from .network import AbstractNetwork, Tensor


class CharacterLM(AbstractNetwork):
    r"""A layer of LSTM over the characters of a text, with an embedding and a decoder.

    $$ (h_{t+1}, c_{t+1}) = \mathrm{LSTM}\big( E[x_t], h_t, c_t \big), \qquad
       \mathrm{scores}_t = D\, h_{t+1} + d $$

    It reads segments of a text from states of zero, and scores every character that could follow
    each one. The gate of what is kept has one added before its sigmoid, so that it starts open;
    entries of the embedding have the scale of a unit with one input.

    **Arguments:**

    - `num_characters`: how many characters there are.
    - `num_hidden`: units of the LSTM.
    - `num_embedded`: entries of an embedding.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9, 1997; the
    gate's one as in Jozefowicz, Zaremba and Sutskever, An empirical exploration of recurrent
    network architectures, 2015.
    """

    num_characters: int
    num_hidden: int = 32
    num_embedded: int = 8

    def __check_init__(self):
        for name in ("num_characters", "num_hidden", "num_embedded"):
            check_integer(name, getattr(self, name))

    @property
    def num_classes(self):
        return self.num_characters

    @property
    def tensors(self):
        n, m, V = self.num_hidden, self.num_embedded, self.num_characters
        return {
            "embedding": {"matrix": Tensor((V, m), 1)},
            "lstm": {
                "bias": Tensor((4 * n,)),
                "input": Tensor((m, 4 * n), m + n),
                "recurrence": Tensor((n, 4 * n), m + n),
            },
            "decoder": {"bias": Tensor((V,)), "matrix": Tensor((n, V), n)},
        }

    def check_inputs(self, shape):
        if len(shape) != 1:
            raise ValueError(f"inputs must be segments of characters, got the shape {shape}")

    def scores(self, weights, inputs):
        lstm = weights["lstm"]
        # Of every character there is, which are fewer than those read.
        table = dense(
            {"bias": lstm["bias"], "matrix": lstm["input"]}, weights["embedding"]["matrix"]
        )
        gates = table[jnp.swapaxes(inputs, 0, 1).astype(int)]

        def read(state, gates):
            hidden, cell = state
            enter, keep, fresh, leave = jnp.split(gates + hidden @ lstm["recurrence"], 4, axis=1)
            cell = jax.nn.sigmoid(keep + 1) * cell + jax.nn.sigmoid(enter) * jnp.tanh(fresh)
            hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
            return (hidden, cell), hidden

        start = jnp.zeros((len(inputs), self.num_hidden), table.dtype)
        _, hidden = jax.lax.scan(read, (start, start), gates)
        return dense(weights["decoder"], jnp.swapaxes(hidden, 0, 1))
