"""Compiled programs, shared wherever tracing shows that they are the same program.

JAX looks a compiled program up by the function that it was made of, and so do the caches of its
loops and branches. A function that reads a global, a closure or a NumPy array computes something
else once that has changed, and JAX does not notice. Here a program is found by what tracing yields:
its equations and the values of its constants.
"""

import dataclasses
import types
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ._frozen import freeze
from ._guards import Guards

_MOST_PROGRAMS = 32
_COMPILED: dict[Hashable, Any] = {}
_KNOWN: dict[Hashable, list["_Known"]] = {}
_MOST_ALIKE = 8
_VALUES = bool, int, float, complex, str, bytes, np.generic, types.MethodType
# Part of the key of every cache of JAX: under a value never seen before all is traced anew, the
# user's own jitted functions and the bodies of loops included.
_traced_for = jax.make_user_context(None)
# Settings of JAX that make another program of the same function.
_SETTINGS = (
    "enable_x64",
    "default_matmul_precision",
    "default_prng_impl",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "default_device",
)


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
    form: list[Any]
    kinds: list[Any]
    structure: Any
    guards: Guards

    def fits(self, form: list[Any], kinds: list[Any], structure: Any) -> bool:
        alike = len(form) == len(self.form) and all(map(_is_the_same, form, self.form))
        return alike and kinds == self.kinds and structure == self.structure


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
    with _traced_for(object()):
        traced = jax.jit(run, donate_argnums=1).trace(*numbers)
    places = tuple(map(_place, jax.tree.leaves(numbers)))
    key = freeze(traced.jaxpr), places, len(numbers[1]), _setting("default_device")
    if key not in _COMPILED:
        _make_room(_COMPILED)
        _COMPILED[key] = traced.lower().compile()
    return Program(_COMPILED[key], made[-1], donated)


def find_shapes(function: Callable, *arguments: PyTree) -> PyTree:
    """The shapes of what a function returns, traced now."""
    with _traced_for(object()):
        return eqx.filter_eval_shape(function, *arguments)


def call_program(function: Callable, *arguments: PyTree) -> PyTree:
    """The result of a pure function, by a program traced now; inside of another one, as it is."""
    if is_inside(arguments):
        return function(*arguments)
    return compile_program(function, *arguments)(*arguments)


def call_known_program(function: Callable, settings: tuple[Any, ...], *trees: PyTree) -> PyTree:
    """As `call_program`, for calls so frequent that tracing each would be too slow."""
    arguments = *settings, *trees
    if is_inside(arguments):
        return function(*arguments)
    program, numbers = _find_known(function, settings, trees)
    return jax.tree.unflatten(program.structure, program.compiled(numbers, []))


def known_program(function: Callable, settings: tuple[Any, ...], *trees: PyTree) -> Program:
    """The program that `call_known_program` calls, to be called many times with such arguments."""
    return _find_known(function, settings, trees)[0]


def _find_known(
    function: Callable, settings: tuple[Any, ...], trees: tuple[PyTree, ...]
) -> tuple[Program, list[Any]]:
    """A program, and the arrays of the arguments.

    The program is that of an earlier call whose `settings` were of the same classes and held the
    same but for arrays, if what they lead to is as it was: methods, and the globals and closures
    that these read.
    """
    arguments = *settings, *trees
    numbers = [x for x in jax.tree.leaves(arguments) if is_number(x)]
    kinds = [*map(_kind, numbers), *map(_setting, _SETTINGS)]
    others = [x for x in jax.tree.leaves(trees) if not is_number(x)]
    form, structure = [*_describe(settings), *others], jax.tree.structure(trees)
    key = function, *map(type, settings)
    if key not in _KNOWN:
        _make_room(_KNOWN)
    alike = _KNOWN.setdefault(key, [])
    known = next((x for x in alike if x.fits(form, kinds, structure)), None)
    if known is None or not known.guards.hold():
        program = compile_program(function, *arguments)
        # Afterwards: a step that counts how often it is traced has then counted.
        new = _Known(program, form, kinds, structure, Guards(settings))
        alike[:] = [x for x in alike if x is not known][1 - _MOST_ALIKE :]
        if new.guards.complete:
            alike.append(new)
        known = new
    return known.program, numbers


def is_number(x: Any) -> bool:
    """True for an array, or what stands for one."""
    return isinstance(x, (jax.Array, np.ndarray, jax.ShapeDtypeStruct))


def is_inside(tree: PyTree) -> bool:
    """True if a call with these arguments is part of another program, or shall not be one."""
    leaves = jax.tree.leaves(tree)
    return _setting("disable_jit") or any(isinstance(leaf, Tracer) for leaf in leaves)


def _setting(name: str) -> Any:
    return getattr(jax.config, f"jax_{name}")


def _make_room(programs: dict[Hashable, Any]) -> None:
    """For one more, by giving up the oldest: programs hold on to classes, arrays and memory."""
    while len(programs) >= _MOST_PROGRAMS:
        del programs[next(iter(programs))]


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


def _describe(tree: Any, static: bool = False) -> list[Any]:
    """The parts of a tree, static fields included and arrays that are none left out."""
    if is_number(tree) and not static:
        return [is_number]
    parts: list[Any] = []
    if isinstance(tree, eqx.Module):
        for field in dataclasses.fields(tree):
            inside = static or field.metadata.get("static", False)
            parts += field.name, *_describe(getattr(tree, field.name, None), inside)
    elif type(tree) in (tuple, list):
        parts = [x for part in tree for x in _describe(part, static)]
    elif type(tree) is dict:
        parts = [x for name, part in tree.items() for x in (name, *_describe(part, static))]
    else:
        return [tree]
    return [type(tree), len(parts), *parts]


def _is_the_same(x: Any, y: Any) -> bool:
    """True if two objects are one, or cannot be told apart whatever happens to them."""
    return x is y or (type(x) is type(y) and isinstance(x, _VALUES) and x == y)


def _kind(x: Any) -> Any:
    return (x.aval, _place(x)) if isinstance(x, jax.Array) else (x.shape, x.dtype)


def _place(x: Any) -> Any:
    """The place where an array has to stay, or `None`."""
    return x.sharding if isinstance(x, jax.Array) and x.committed else None
