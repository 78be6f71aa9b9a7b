"""The influence of each parameter on those numbers of the state that it moves at once."""

import jax
import jax.numpy as jnp
import numpy as np

from .. import _rows as rows
from .._engine.map_problem import map_problem
from .._immediate import Layer, Telling, UnitFacts, UnitJacobian, gather_gradient, told_in
from .influence import AbstractSketch


class UnitInfluence(AbstractSketch):
    """For each parameter its derivatives of a unit's numbers; those of other units are zero.

    **Arguments:**

    - `exact`: refuse problems in which those of other units are not zero.
    """

    exact: bool

    def view(self, engine):
        return map_problem(engine, lambda problem: Telling(problem, UnitJacobian(self.exact)))

    def blank(self, state, params):
        num_workers = jax.tree.leaves(state)[0].shape[0]

        def empty(layer: Layer, facts: UnitFacts):
            return jnp.zeros((*np.shape(facts.moved), layer.num_inputs))

        told = told_in(state)
        return rows.repeat(tuple(map(empty, told.layers, told.facts)), num_workers)

    def pull(self, sketch, cotangent, params):
        told = told_in(cotangent)

        def one(sketch, state):
            flat, _ = rows.ravel(state)
            flat = jnp.append(flat.astype(jnp.result_type(float)), 0)
            along = lambda influence, facts: jnp.einsum(
                "om,omi->oi", flat[np.array(facts.moved)], influence
            )
            return gather_gradient(told.layers, list(map(along, sketch, told.facts)), params)

        return jax.vmap(one)(sketch, cotangent)

    def push(self, sketch, step, keys, params):
        def one(influence, inputs, facts):
            carried = jnp.einsum("omn,oni->omi", facts.carried, influence)
            return (carried + jnp.einsum("om,i->omi", facts.newest, inputs)).astype(influence.dtype)

        told = told_in(step.after)
        each = lambda sketch, told: tuple(map(one, sketch, told.inputs, told.facts))
        return jax.vmap(each)(sketch, told)
