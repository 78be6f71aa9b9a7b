"""Compiled programs, shared wherever tracing shows that they are the same program.

JAX looks a compiled program up by the function that it was made of, and so do the caches of its
loops and branches. A function that reads a global, a closure or a NumPy array computes something
else once that has changed, and JAX does not notice. Here a program is found by what tracing yields:
its equations and the values of its constants.
"""

import contextlib
import contextvars
import functools as ft
import hashlib
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jax.extend import core
from jaxtyping import PyTree

from ._guards import Guards

_MOST_PROGRAMS = 32
_COMPILED: dict[Hashable, Any] = {}
_KNOWN: dict[Hashable, "_Known"] = {}
# Part of the key of every cache of JAX: under a value never seen before all is traced anew, the
# user's own jitted functions and the bodies of loops included.
_traced_for = jax.make_user_context(None)
_occasion: contextvars.ContextVar[object] = contextvars.ContextVar("occasion")
# Settings of JAX that make another program of the same function.
_SETTINGS = (
    "enable_x64",
    "default_matmul_precision",
    "default_prng_impl",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "default_device",
)
# What these primitives hold besides are rules of derivatives, made anew by every trace: a program
# that has been traced has no more use for them.
_OWN_DERIVATIVES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}


class Program(NamedTuple):
    """A function of trees, compiled for shapes and types and for whatever is no array."""

    compiled: Any
    structure: Any
    donated: int | None

    def __call__(self, *arguments: PyTree) -> PyTree:
        leaves = self.compiled(*_split(arguments, self.donated))
        return jax.tree.unflatten(self.structure, leaves)


class _Known(NamedTuple):
    """A program, and what has to be as it was for it to be the right one."""

    program: Program
    structure: Any
    kinds: list[Any]
    guards: Guards


def compile_program(function: Callable, *arguments: PyTree, donated: int | None = None) -> Program:
    """`function`, traced now, and compiled unless the same program has been compiled before.

    Arrays and `jax.ShapeDtypeStruct`s are what the program is a function of; everything else in
    the arguments becomes a part of it. The buffers of the argument of number `donated` are used
    again.
    """
    made = []

    def run(kept, given_up):
        out = function(*_join(arguments, donated, kept, given_up))
        leaves, structure = jax.tree.flatten(out)
        made.append(structure)
        return leaves

    numbers = _split(arguments, donated)
    with _traced_for(_occasion.get(object())):
        traced = jax.jit(run, donate_argnums=1).trace(*numbers)
    places = tuple(map(_place, jax.tree.leaves(numbers)))
    key = _Freezer().freeze(traced.jaxpr), places, len(numbers[1]), _setting("default_device")
    if key not in _COMPILED:
        _make_room(_COMPILED)
        _COMPILED[key] = traced.lower().compile()
    return Program(_COMPILED[key], made[-1], donated)


@contextlib.contextmanager
def one_occasion():
    """Programs traced within share what they have in common, which saves time."""
    token = _occasion.set(_occasion.get(object()))
    try:
        yield
    finally:
        _occasion.reset(token)


def find_shapes(function: Callable, *arguments: PyTree) -> PyTree:
    """The shapes of what a function returns, traced now."""
    with _traced_for(_occasion.get(object())):
        return eqx.filter_eval_shape(function, *arguments)


def call_program(function: Callable, *arguments: PyTree) -> PyTree:
    """What a pure function returns, by a program traced now; inside of another one, as it is."""
    if _is_inside(jax.tree.leaves(arguments)):
        return function(*arguments)
    return compile_program(function, *arguments)(*arguments)


def call_known_program(function: Callable, settings: tuple[Any, ...], *trees: PyTree) -> PyTree:
    """As `call_program`, for calls so frequent that tracing each would be too slow.

    The program is that of an earlier call if the objects of `settings` are the same ones, and what
    they lead to is as it was: fields, methods, and the globals and closures that these read.
    """
    arguments = *settings, *trees
    leaves, structure = jax.tree.flatten(arguments)
    if _is_inside(leaves):
        return function(*arguments)
    kinds = [*map(_kind, leaves), *map(_setting, _SETTINGS)]
    key = function, *map(id, settings)
    known = _KNOWN.get(key)
    if (
        known is None
        or known.structure != structure
        or known.kinds != kinds
        or not known.guards.hold()
    ):
        _KNOWN.pop(key, None)
        program = compile_program(function, *arguments)
        # Afterwards: a step that counts how often it is traced has then counted.
        guards = Guards(settings)
        known = _Known(program, structure, kinds, guards)
        if guards.complete:
            _make_room(_KNOWN)
            _KNOWN[key] = known
    program = known.program
    found = program.compiled([x for x in leaves if is_number(x)], [])
    return jax.tree.unflatten(program.structure, found)


def is_number(x: Any) -> bool:
    """Whether something is an array, or stands for one."""
    return isinstance(x, (jax.Array, np.ndarray, jax.ShapeDtypeStruct))


def _setting(name: str) -> Any:
    return getattr(jax.config, f"jax_{name}")


def _make_room(programs: dict[Hashable, Any]) -> None:
    while len(programs) >= _MOST_PROGRAMS:
        del programs[next(iter(programs))]


def _is_inside(leaves: list[Any]) -> bool:
    """Whether a call is part of another program, or shall not be one."""
    return _setting("disable_jit") or any(isinstance(leaf, Tracer) for leaf in leaves)


def _split(arguments, donated: int | None) -> tuple[list[Any], list[Any]]:
    """The arrays of the arguments that are kept, and those of the one that is given up."""
    kept = arguments if donated is None else arguments[:donated] + arguments[donated + 1 :]
    given_up = () if donated is None else arguments[donated]
    numbers = lambda tree: [x for x in jax.tree.leaves(tree) if is_number(x)]
    return numbers(kept), numbers(given_up)


def _join(arguments, donated: int | None, kept, given_up) -> tuple[Any, ...]:
    """The arguments with other arrays; the inverse of `_split`."""
    sources = iter(kept), iter(given_up)

    def put(index, argument):
        source = sources[index == donated]
        return jax.tree.map(lambda x: next(source) if is_number(x) else x, argument)

    return tuple(put(index, argument) for index, argument in enumerate(arguments))


def _kind(x: Any) -> Any:
    if isinstance(x, jax.Array):
        return x.aval, _place(x)
    return (x.shape, x.dtype) if is_number(x) else x


def _place(x: Any) -> Any:
    """Where an array has to stay, if anywhere."""
    return x.sharding if isinstance(x, jax.Array) and x.committed else None


class _Freezer:
    """Makes of a traced program something that is equal for equal programs alone."""

    def __init__(self):
        # By identity: what is traced once is part of a program many times.
        self._frozen: dict[int, tuple[Any, Hashable]] = {}

    def freeze(self, x: Any) -> Hashable:
        """What stands for a parameter of an equation. It holds on to objects that have no value."""
        if isinstance(x, core.ClosedJaxpr):
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
        if isinstance(x, (tuple, list)):
            return type(x), tuple(map(self.freeze, x))
        if isinstance(x, dict):
            items = [(self.freeze(key), self.freeze(value)) for key, value in x.items()]
            return dict, tuple(items)
        if isinstance(x, (bool, int, float, complex)):
            return type(x), repr(x)  # As numbers, -0.0 and 0.0 would be equal.
        if isinstance(x, ft.partial):
            return ft.partial, self.freeze(x.func), self.freeze(x.args), self.freeze(x.keywords)
        try:
            hash(x)
        except TypeError:
            return _Same(x)
        return type(x), x

    def _freeze_jaxpr(self, jaxpr: core.Jaxpr) -> Hashable:
        numbers: dict[Any, int] = {}

        def name(atom):
            if isinstance(atom, core.Literal):
                return _freeze_array(atom.val), atom.aval
            if atom in numbers:
                return numbers[atom]
            numbers[atom] = len(numbers)
            return numbers[atom], atom.aval

        frozen: list[Hashable] = [tuple(map(name, (*jaxpr.constvars, *jaxpr.invars)))]
        for equation in jaxpr.eqns:
            params = equation.params
            if equation.primitive.name in _OWN_DERIVATIVES:
                params = {key: x for key, x in params.items() if isinstance(x, core.ClosedJaxpr)}
            frozen.append(
                (
                    equation.primitive,
                    tuple(map(name, equation.invars)),
                    tuple((key, self.freeze(params[key])) for key in sorted(params)),
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


class _Same:
    """Equal to itself alone, and holds on to what it stands for."""

    def __init__(self, x: Any):
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.x is self.x

    def __hash__(self) -> int:
        return id(self.x)
