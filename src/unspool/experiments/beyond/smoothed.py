"""A problem seen from a little way off."""

import jax
import jax.numpy as jnp

from ..._custom_types import Params
from ..._problem import AbstractProblem
from ..._rows import add
from ...extend import AbstractWrapper


class Smoothed(AbstractWrapper):
    r"""Another problem at parameters that are shifted anew in every episode.

    $$ \ell_t(\theta) \to \ell_t(\theta + \mathrm{scale} \cdot \xi), \qquad \xi \sim N(0, I) $$

    For evaluations where the loss itself is so rough that rounding moves it.

    **Arguments:**

    - `problem`: the problem.
    - `scale`: standard deviation of the shift of every parameter.
    """

    problem: AbstractProblem
    scale: float

    def __init__(self, problem: AbstractProblem, scale: float):
        self.problem = problem
        self.scale = scale

    @property
    def inner(self) -> AbstractProblem:
        return self.problem

    def init_state(self, params, *, key):
        shift_key, key = jax.random.split(key)
        shift = _draw(params, self.scale, shift_key)
        return {"shift": shift, "state": self.problem.init_state(add(params, shift), key=key)}

    def step(self, params, state, t, *, key):
        moved = add(params, state["shift"])
        after, loss = self.problem.step(moved, state["state"], t, key=key)
        return {"shift": state["shift"], "state": after}, loss


def _draw(params: Params, scale: float, key) -> Params:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        scale * jax.random.normal(k, jnp.shape(x), jnp.result_type(x))
        for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
