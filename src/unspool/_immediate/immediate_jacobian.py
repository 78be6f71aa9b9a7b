"""The immediate Jacobian of a step, layer by layer."""

import jax
import jax.numpy as jnp

from .linearize import linearize
from .telling import AbstractReader, Told, Traced


class ImmediateJacobian(AbstractReader):
    r"""For each layer $\partial s_{t+1} / \partial p$, an array of outputs x state.

    Its Kronecker product with the layer's inputs is the derivative of the state with respect to
    the layer's matrix.

    **Raises:** `ValueError` for a leaf of the parameters of two axes or more that enters a state
    otherwise than by a product with a vector: its derivative is no Kronecker product.
    """

    def read_start(self, start: Traced, step: Traced) -> Told:
        return Told.join(_read(start), _blank(step))

    def read_step(self, start: Traced, step: Traced) -> Told:
        return Told.join(_blank(start), _read(step))


def _blank(traced: Traced) -> Told:
    return jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: _read(traced))
    )


def _read(traced: Traced) -> Told:
    _check_products(traced)
    derivative = linearize(traced)
    jacobian = lambda index, still: derivative.push_layer(
        index, jnp.eye(still.size, dtype=still.dtype)
    )
    facts = tuple(jacobian(*each) for each in enumerate(derivative.still[1]))
    return Told(traced.layers, derivative.inputs, facts)


def _check_products(traced: Traced) -> None:
    for layer in traced.layers:
        for leaf, (inner, outer) in zip(layer.leaves, layer.axes, strict=True):
            if not inner and len(outer) > 1:
                raise ValueError(
                    f"{traced.names[0][leaf]} must enter a step as a product with a vector alone, "
                    "as in `weight @ input`, for its derivative to be a Kronecker product; here it "
                    "is used otherwise: write it as such products, or take RTRL, UORO or DODGE"
                )
