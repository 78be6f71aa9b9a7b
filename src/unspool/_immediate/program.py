"""A function of arrays as a flat list of equations, which can be read and run with changes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.extend.core import ClosedJaxpr  # pyright: ignore[reportPrivateImportUsage]

Change = Callable[[Any, Any], Any]


class Program(NamedTuple):
    """The equations that the outputs of a function depend on, those of jitted parts included.

    - `jaxpr`: inputs, outputs and variables.
    - `consts`: the values of what the function has closed over.
    - `equations`: the equations that the outputs need, in order.
    """

    jaxpr: Any
    consts: Sequence[Any]
    equations: tuple[Any, ...]

    def needs(self, variable: Any) -> bool:
        """True if the outputs depend on a variable."""
        reads = [read for equation in self.equations for read in equation.invars]
        return any(variable is x for x in (*self.jaxpr.outvars, *reads))

    def run(self, inputs: Sequence[Any], change: Change) -> list[Any]:
        """The outputs, where `change(variable, value)` stands for each value that is found."""
        values: dict[Any, Any] = dict(zip(self.jaxpr.constvars, self.consts, strict=True))
        for variable, value in zip(self.jaxpr.invars, inputs, strict=True):
            values[variable] = change(variable, value)
        for equation in self.equations:
            outputs = _evaluate(equation, [_read(values, x) for x in equation.invars])
            for variable, value in zip(equation.outvars, outputs, strict=True):
                values[variable] = change(variable, value)
        return [_read(values, x) for x in self.jaxpr.outvars]


def trace(function: Callable[..., Any], *inputs: Any) -> Program:
    """The program of a function of trees of arrays; its inputs are the leaves of the trees."""
    whole = jax.make_jaxpr(function)(*inputs)
    flat = jax.make_jaxpr(lambda *leaves: _inline(whole, leaves))(*jax.tree.leaves(inputs))
    return Program(flat.jaxpr, flat.consts, _needed(flat.jaxpr))


def is_literal(variable: Any) -> bool:
    """True for a number that is written into an equation."""
    return isinstance(variable, core.Literal)


def inner_program(equation: Any) -> ClosedJaxpr | None:
    """The program that an equation runs once: of a jitted function, or of one whose derivative
    is given by hand. `None` for any other."""
    if equation.primitive.name not in {*_JITTED, "custom_jvp_call", "custom_vjp_call"}:
        return None
    return next((x for x in equation.params.values() if isinstance(x, ClosedJaxpr)), None)


_JITTED = "jit", "pjit"


def entrywise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays of one shape, declared to work entry by entry.

    Each entry of what it returns, an array of that shape or a tuple of them, may depend on the same
    entry of each argument and on no other. Operations of JAX that work so are known; this is for
    parts of a step in which they cannot be seen, such as loops: `ElementwiseRTRL` and `SnAp1` take
    the word for it.

    **Example:**

    >>> @unspool.extend.entrywise
    ... def settle(x, drive):
    ...     return jax.lax.fori_loop(0, 5, lambda _, x: 0.5 * (x + jnp.tanh(x + drive)), x)
    >>> print(f"{settle(jnp.zeros(2), jnp.array([0.0, 1.0]))[1]:.2f}")
    0.91
    """

    def declared_entrywise(*arrays):
        return function(*arrays)

    return jax.jit(declared_entrywise)


def is_declared_entrywise(equation: Any) -> bool:
    """True for a call of a function that `entrywise` has returned."""
    return equation.params.get("name") == "declared_entrywise"


def _inline(program: ClosedJaxpr, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a program, found without calls of jitted functions."""
    jaxpr = program.jaxpr
    values = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= zip(jaxpr.invars, inputs, strict=True)
    for equation in jaxpr.eqns:
        given = [_read(values, x) for x in equation.invars]
        is_jitted = equation.primitive.name in _JITTED and not is_declared_entrywise(equation)
        if is_jitted and (inner := inner_program(equation)):
            outputs = _inline(inner, given)
        else:
            outputs = _evaluate(equation, given)
        values |= zip(equation.outvars, outputs, strict=True)
    return [_read(values, x) for x in jaxpr.outvars]


def _evaluate(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    params = equation.primitive.get_bind_params(equation.params)
    outputs = equation.primitive.bind(*inputs, **params)
    return outputs if equation.primitive.multiple_results else [outputs]


def _needed(jaxpr: Any) -> tuple[Any, ...]:
    needed = {x for x in jaxpr.outvars if not is_literal(x)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if any(x in needed for x in equation.outvars):
            needed |= {x for x in equation.invars if not is_literal(x)}
            kept.append(equation)
    return tuple(reversed(kept))


def _read(values: dict[Any, Any], variable: Any) -> Any:
    return variable.val if is_literal(variable) else values[variable]
