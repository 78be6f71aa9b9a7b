"""A tiny recurrent net that reads a text and says which character comes next."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from .._problem import AbstractProblem
from ._check import check_integer

GETTYSBURG = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
    "conceived in Liberty, and dedicated to the proposition that all men are created equal. Now we "
    "are engaged in a great civil war, testing whether that nation, or any nation so conceived and "
    "so dedicated, can long endure. We are met on a great battle-field of that war. We have come "
    "to dedicate a portion of that field, as a final resting place for those who here gave their "
    "lives that that nation might live. It is altogether fitting and proper that we should do "
    "this. But, in a larger sense, we can not dedicate -- we can not consecrate -- we can not "
    "hallow -- this ground. The brave men, living and dead, who struggled here, have consecrated "
    "it, far above our poor power to add or detract. The world will little note, nor long remember "
    "what we say here, but it can never forget what they did here. It is for us the living, rather,"
    " to be dedicated here to the unfinished work which they who fought here have thus"
)
"""The first 1001 characters of Lincoln's address at Gettysburg (1863)."""


class CharacterLSTM(AbstractProblem):
    r"""Predicting the next character of a text, one character a step.

    $$ (h_{t+1}, c_{t+1}) = \mathrm{LSTM}_\theta \big( E_\theta[x_t], h_t, c_t \big), \qquad
       \ell_t = - \log \mathrm{softmax} \big( D_\theta h_{t+1} + d_\theta \big) [x_{t+1}] $$

    All weights are parameters: an embedding, a layer of LSTM whose input and recurrence have a
    bias each, and a decoder that shares nothing with the embedding. With 5 units, an embedding of 5
    and $V$ characters there are $11 V + 240$ of them. They start as in PyTorch: embeddings
    normal, all else uniform between plus and minus $1 / \sqrt{\mathrm{num\_hidden}}$; states start
    at zero.

    **Arguments:**

    - `text`: what is read, of at least two characters; an episode has one step less. By default the
      first 1001 characters of Lincoln's address at Gettysburg.
    - `vocabulary`: the characters that there are; by default those of the text.
    - `num_hidden`: units of the LSTM.
    - `num_embedded`: entries of an embedding.

    Source: Vicol, Metz and Sohl-Dickstein, Unbiased gradient estimation in unrolled computation
    graphs with persistent evolution strategies, 2021, arXiv:2112.13835, with another text.
    """

    codes: Int[np.ndarray, " characters"]
    num_codes: int
    num_hidden: int
    num_embedded: int
    horizon: int

    def __init__(
        self,
        text: str | None = None,
        vocabulary: str | None = None,
        num_hidden: int = 5,
        num_embedded: int = 5,
    ):
        text = GETTYSBURG if text is None else text
        if len(text) < 2:
            raise ValueError(f"text must have at least 2 characters, got {text!r}")
        known = sorted(set(text if vocabulary is None else vocabulary))
        if unknown := sorted(set(text) - set(known)):
            raise ValueError(
                f"vocabulary must hold every character of the text, got none of {unknown}"
            )
        codes = {character: code for code, character in enumerate(known)}
        self.codes = np.array([codes[character] for character in text], np.int32)
        self.num_codes = len(known)
        self.num_hidden = num_hidden
        self.num_embedded = num_embedded
        self.horizon = len(text) - 1

    def __check_init__(self):
        check_integer("num_hidden", self.num_hidden)
        check_integer("num_embedded", self.num_embedded)

    def init_params(self, *, key):
        n, m, V = self.num_hidden, self.num_embedded, self.num_codes
        shapes = {
            "input": (4 * n, m),
            "input_bias": (4 * n,),
            "recurrence": (4 * n, n),
            "recurrence_bias": (4 * n,),
            "decoder": (V, n),
            "decoder_bias": (V,),
        }
        first, *keys = jax.random.split(key, 1 + len(shapes))
        bound = 1 / math.sqrt(n)
        draw = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        drawn = [draw(*pair) for pair in zip(keys, shapes.values(), strict=True)]
        return {"embedding": jax.random.normal(first, (V, m))} | dict(
            zip(shapes, drawn, strict=True)
        )

    def init_state(self, params, *, key):
        return {"hidden": jnp.zeros(self.num_hidden), "cell": jnp.zeros(self.num_hidden)}

    def step(self, params, state, t, *, key):
        codes = jnp.asarray(self.codes)
        embedded = params["embedding"][codes[t]]
        gates = params["input"] @ embedded + params["input_bias"]
        gates = gates + params["recurrence"] @ state["hidden"] + params["recurrence_bias"]
        enter, forget, fresh, leave = jnp.split(gates, 4)
        cell = jax.nn.sigmoid(forget) * state["cell"] + jax.nn.sigmoid(enter) * jnp.tanh(fresh)
        hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        logits = params["decoder"] @ hidden + params["decoder_bias"]
        loss = jax.nn.logsumexp(logits) - logits[codes[t + 1]]
        return {"hidden": hidden, "cell": cell}, loss
