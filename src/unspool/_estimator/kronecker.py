"""The influence as a short sum of Kronecker products, layer by layer."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _rows as rows
from .._custom_types import RandomKey
from .._engine.map_problem import map_problem
from .._immediate import ImmediateJacobian, Layer, Telling, Told, gather_gradient, told_in
from .influence import AbstractSketch, LinearStep, WorkerTree, split_state


class Terms(NamedTuple):
    r"""A sum of Kronecker products, for the derivative of the state with respect to a layer.

    $$ \tilde G = \sum_i u_i \otimes M_i $$

    - `inputs`: $u_i$, a vector like the one that the layer's matrix is multiplied by.
    - `responses`: $M_i$, how the flat state moves with the layer's preactivation.
    """

    inputs: Float[Array, "*workers terms inputs"]
    responses: Float[Array, "*workers terms outputs state"]


class AbstractReduction(eqx.Module):
    """How a sum of one term too many becomes one of `num_terms`."""

    num_terms: eqx.AbstractVar[int]

    @abc.abstractmethod
    def reduce(self, terms: Terms, signs: Float[Array, " terms"]) -> Terms:
        """One term less, with the same sum in the mean over all signs."""


class KroneckerSum(AbstractSketch):
    """For each layer a few terms, to which every step adds one, and a reduction.

    Where a layer has a single input, such as a bias that is no part of another layer, terms are
    added up, and nothing is random.
    """

    reduction: AbstractReduction

    def view(self, engine):
        return map_problem(engine, lambda problem: Telling(problem, ImmediateJacobian()))

    def blank(self, state, params):
        flat, _ = _flatten(state)
        num_workers, size = flat.shape

        def empty(layer: Layer) -> Terms:
            count = min(self.reduction.num_terms, layer.num_inputs)
            inputs = jnp.ones if layer.num_inputs == 1 else jnp.zeros
            return Terms(
                inputs((count, layer.num_inputs), flat.dtype),
                jnp.zeros((count, layer.num_outputs, size), flat.dtype),
            )

        return rows.repeat(tuple(map(empty, told_in(state).layers)), num_workers)

    def pull(self, sketch, cotangent, params):
        along = lambda terms, flat: jnp.einsum("ri,ros,s->oi", *terms, flat)
        one = lambda sketch, flat: gather_gradient(
            told_in(cotangent).layers, [along(terms, flat) for terms in sketch], params
        )
        return jax.vmap(one)(sketch, _flatten(cotangent)[0])

    def push(self, sketch, step, keys, params):
        signs = jax.vmap(lambda key: _draw_signs(key, len(sketch), self.reduction.num_terms))(keys)
        still = rows.repeat(rows.zeros_like(params), keys.size)
        carried = tuple(
            Terms(terms.inputs, _carry(terms.responses, step, still)) for terms in sketch
        )
        return jax.vmap(self._add)(carried, told_in(step.after), signs)

    def _add(self, sketch: tuple[Terms, ...], told: Told, signs: Array) -> tuple[Terms, ...]:
        """One worker's sketch, with the terms of its newest step."""

        def one(old: Terms, inputs: Array, response: Array, signs: Array) -> Terms:
            inputs, response = inputs.astype(signs.dtype), response.astype(signs.dtype)
            if inputs.size == 1:
                return Terms(old.inputs, old.responses + jnp.stack([inputs[0] * response]))
            new = Terms(jnp.stack([inputs]), jnp.stack([response]))
            return self.reduction.reduce(
                jax.tree.map(lambda *x: jnp.concatenate(x), old, new), signs
            )

        pairs = zip(sketch, told.inputs, told.facts, signs, strict=True)
        return tuple(one(*each) for each in pairs)


def _carry(responses: Array, step: LinearStep, still: WorkerTree) -> Array:
    """How the next state moves with what has moved the state before it."""
    state, _ = split_state(step.after)
    _, unflatten = _flatten(state)

    def along(column):
        return _flatten(step.forward(unflatten(column), still))[0]

    return jax.vmap(jax.vmap(along, in_axes=1, out_axes=1), in_axes=1, out_axes=1)(responses)


def _flatten(state: WorkerTree) -> tuple[Float[Array, "workers state"], Any]:
    """Each worker's state in one array, and the way back."""
    flat = jax.vmap(lambda tree: rows.ravel(tree)[0])(state)
    _, unravel = rows.ravel(jax.tree.map(lambda x: x[0], state))
    wide = flat.astype(jnp.result_type(float))
    return wide, lambda wide: jax.vmap(unravel)(wide.astype(flat.dtype))


def _draw_signs(key: RandomKey, num_layers: int, num_terms: int) -> Array:
    """Signs for each layer's terms, and for the one that is added to them."""
    return jax.random.rademacher(key, (num_layers, num_terms + 1), jnp.result_type(float))
