"""A recurrent net that learns to do what a random one does."""

import jax
import jax.numpy as jnp

from .._problem import AbstractProblem
from .._random import seeded_key
from ._check import check_integer, check_positive
from ._recurrent import RecurrentNet, blank_memory, check_cell


class RecurrentTeacher(AbstractProblem):
    r"""Following a random recurrent net of the same kind, which is given the same inputs.

    $$ (m_{t+1}, y_t) = \mathrm{net}_\theta(x_t, m_t), \qquad
       (m^*_{t+1}, y^*_t) = \mathrm{net}_{\theta^*}(x_t, m^*_t), \qquad
       \ell_t = \tfrac{1}{2} (y_t - y^*_t)^2 $$

    Inputs are standard normal, new in every episode. The teacher's weights are those of a fresh net
    times `gain`; with a larger gain it remembers for longer, and from about 3 on it is chaotic. By
    default both are plain nets of six units, small enough to compare the variances of all
    estimators with the exact gradient. The least loss is zero, at the teacher's weights.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `cell`: `tanh`, `gru`, `lstm`, or `independent`, whose units read themselves alone.
    - `num_hidden`: units of either net.
    - `gain`: factor of the teacher's weights, above 0.
    - `seed`: which teacher.

    Source: made for this library; a plain net of six units is what Cooijmans and Martens, On the
    variance of unbiased online recurrent optimization, 2019, arXiv:1902.02405, argue with.
    """

    horizon: int = 100
    cell: str = "tanh"
    num_hidden: int = 6
    gain: float = 2.0
    seed: int = 0

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("num_hidden", self.num_hidden)
        check_positive("gain", self.gain)
        check_integer("seed", self.seed, least=0)
        check_cell(self.cell)

    @property
    def teacher(self) -> RecurrentNet:
        """The net that is to be learned."""
        fresh = self.init_params(key=seeded_key(self.seed))
        return jax.tree.map(lambda x: self.gain * x, fresh)

    def init_params(self, *, key):
        return RecurrentNet(self.cell, (1, self.num_hidden, 1), key=key)

    def init_state(self, params, *, key):
        blank = blank_memory(self.cell, self.num_hidden)
        return {"student": blank, "teacher": blank}

    def step(self, params, state, t, *, key):
        shown = jax.random.normal(key, (1,))
        student, output = params(shown, state["student"])
        teacher, wanted = self.teacher(shown, state["teacher"])
        loss = 0.5 * jnp.sum((output - wanted) ** 2)
        return {"student": student, "teacher": teacher}, loss
