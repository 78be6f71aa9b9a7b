"""Traced programs as values that can be compared and looked up."""

import hashlib
from collections.abc import Hashable
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.extend.core import ClosedJaxpr  # pyright: ignore[reportPrivateImportUsage]

# What these primitives hold besides are rules of derivatives, made anew by every trace: a program
# that has been traced has no more use for them.
_OWN_DERIVATIVES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}

# Equal to nothing of another type.
_VALUES = {str, type(None)}


def freeze(jaxpr: ClosedJaxpr) -> Hashable:
    """Equal for equal programs alone, the values of their constants included."""
    return _Freezer().freeze(jaxpr)


class _Freezer:
    """Makes of a traced program something that is equal for equal programs alone."""

    def __init__(self):
        # By identity: what is traced once is part of a program many times.
        self._frozen: dict[int, tuple[Any, Hashable]] = {}

    def freeze(self, x: Any) -> Hashable:
        """A stand-in for a parameter of an equation. It holds on to objects that have no value."""
        if isinstance(x, ClosedJaxpr):
            if id(x) not in self._frozen:
                frozen = self._freeze_jaxpr(x.jaxpr), tuple(map(self.freeze, x.consts))
                self._frozen[id(x)] = x, frozen
            return self._frozen[id(x)][1]
        if isinstance(x, core.Jaxpr):
            return self._freeze_jaxpr(x)
        if isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            return str(jax.random.key_impl(x)), self.freeze(jax.random.key_data(x))
        if hasattr(x, "__array__"):
            return _freeze_array(x)
        if isinstance(x, tuple):
            return type(x), tuple([y if type(y) in _VALUES else self.freeze(y) for y in x])
        if isinstance(x, (bool, int, float, complex)):
            return type(x), repr(x)  # As numbers, -0.0 and 0.0 would be equal.
        return type(x), x  # JAX has seen to it that it can be hashed.

    def _freeze_jaxpr(self, jaxpr: core.Jaxpr) -> Hashable:
        numbers: dict[Any, int] = {}
        name = lambda atom: (
            _freeze_array(atom.val)
            if isinstance(atom, core.Literal)
            else numbers.setdefault(atom, len(numbers)),
            atom.aval,
        )
        freeze = lambda x: x if type(x) in _VALUES else self.freeze(x)

        frozen: list[Hashable] = [tuple(map(name, (*jaxpr.constvars, *jaxpr.invars)))]
        for equation in jaxpr.eqns:
            params = equation.params
            if equation.primitive.name in _OWN_DERIVATIVES:
                params = {key: x for key, x in params.items() if isinstance(x, ClosedJaxpr)}
            frozen.append(
                (
                    equation.primitive,
                    tuple(map(name, equation.invars)),
                    tuple([(key, freeze(params[key])) for key in sorted(params)]),
                    tuple(map(name, equation.outvars)),
                )
            )
        frozen.append(tuple(map(name, jaxpr.outvars)))
        return tuple(frozen)


def _freeze_array(x: Any) -> Hashable:
    array = np.ascontiguousarray(x)
    whole = array.view(np.uint8)
    value = whole.tobytes() if whole.size < 64 else hashlib.blake2b(whole.data).digest()
    return np.shape(x), str(array.dtype), value
