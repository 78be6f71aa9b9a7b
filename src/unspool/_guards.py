"""Guards: a traced program is used again while all that it has read is as it was."""

import builtins
import enum
import functools as ft
import hashlib
import site
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._black_box import AbstractBlackBox

_MOST_GUARDS = 5000
_ABSENT = object()
_IMMUTABLE = (
    str, bytes, int, float, complex, type(None), type(Ellipsis), range, enum.Enum, np.generic,
    np.dtype, jax.Array, types.BuiltinFunctionType,
)  # fmt: skip
_PLACES_OF_OTHERS = tuple(
    {
        str(Path(place))
        for place in (
            sysconfig.get_path("stdlib"),
            sysconfig.get_path("platstdlib"),
            *site.getsitepackages(),
            site.getusersitepackages(),
            Path(eqx.__file__).parents[1],
            Path(__file__).parent,
        )
    }
)


class Guards:
    """Everything that objects lead to, as it is now.

    Looked at are fields, classes with their methods, and of each function its code, its defaults,
    its closure, and the globals and attributes of modules that it names. What comes with Python,
    with this library or with an installed package is taken to stay as it is, but for what a
    closure of theirs holds. Unseen are files, what is found by a name that is computed, and what
    objects keep outside of Python.

    `complete` is false where there is too much to look at.
    """

    def __init__(self, roots: tuple[Any, ...]):
        self._names: list[tuple[Any, str, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._functions: list[tuple[types.FunctionType, Any]] = []
        self._arrays: list[tuple[np.ndarray, bytes]] = []
        self._collections: list[tuple[Any, tuple[Any, ...]]] = []
        # Arguments of the program, and so looked at whenever it is called.
        inputs = (x for x in jax.tree.leaves(roots) if isinstance(x, np.ndarray))
        self._seen = {id(x): x for x in inputs}
        self._waiting = list(roots)
        while self._waiting and self.complete:
            self._look_at(self._waiting.pop())

    @property
    def complete(self) -> bool:
        """True if all was looked at."""
        parts = self._names, self._cells, self._functions, self._collections
        return sum(map(len, parts)) < _MOST_GUARDS

    def hold(self) -> bool:
        """True if everything is as it was."""
        for names, name, value in self._names:
            if names.get(name, _ABSENT) is not value:
                return False
        for function, parts in self._functions:
            if parts != (function.__code__, function.__defaults__, function.__kwdefaults__):
                return False
        for cell, value in self._cells:
            if _contents(cell) is not value:
                return False
        for collection, items in self._collections:
            now = _items(collection)
            if len(now) != len(items) or any(x is not y for x, y in zip(now, items, strict=True)):
                return False
        return all(_digest(array) == digest for array, digest in self._arrays)

    def _look_at(self, x: Any) -> None:
        # What runs on the host runs anew with every call.
        if isinstance(x, (*_IMMUTABLE, AbstractBlackBox)) or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if isinstance(x, np.ndarray):
            self._arrays.append((x, _digest(x)))
        elif isinstance(x, types.FunctionType):
            self._look_at_function(x)
        elif isinstance(x, type):
            self._look_at_class(x)
        elif isinstance(x, types.ModuleType):
            return  # What functions name of it is looked at with them.
        elif isinstance(x, (list, tuple, dict, set, frozenset)):
            self._look_at_items(x)
        else:
            self._look_at_object(x)

    def _look_at_items(self, x: Any) -> None:
        items = _items(x)
        if not isinstance(x, (tuple, frozenset)):
            self._collections.append((x, items))
        self._waiting.extend(items)
        if type(x) is not tuple:
            self._waiting.append(type(x))

    def _look_at_function(self, function: types.FunctionType) -> None:
        parts = function.__code__, function.__defaults__, function.__kwdefaults__
        self._functions.append((function, parts))
        self._waiting.extend((*(parts[1] or ()), *(parts[2] or {}).values(), vars(function)))
        for cell in function.__closure__ or ():
            self._cells.append((cell, _contents(cell)))
            self._waiting.append(_contents(cell))
        if not _is_of_others(function.__code__.co_filename):
            names = _names(function.__code__)
            for name in names & (set(function.__globals__) | set(vars(builtins))):
                self._look_up(function.__globals__, name, names)

    def _look_up(self, namespace: dict[str, Any], name: str, names: set[str]) -> None:
        value = namespace.get(name, _ABSENT)
        self._names.append((namespace, name, value))
        if not isinstance(value, types.ModuleType):
            self._waiting.append(value)
        elif not _is_of_others(getattr(value, "__file__", None) or ""):
            for attribute in names & set(vars(value)):
                if not attribute.startswith("__"):
                    self._look_up(vars(value), attribute, names - {attribute})

    def _look_at_class(self, cls: type) -> None:
        for kind in cls.__mro__:
            module = sys.modules.get(kind.__module__)
            if kind.__module__ == "builtins" or _is_of_others(
                getattr(module, "__file__", None) or ""
            ):
                continue
            for name, value in list(vars(kind).items()):
                if not name.startswith("__") or callable(value):
                    self._names.append((vars(kind), name, value))
                    self._waiting.append(value)

    def _look_at_object(self, x: Any) -> None:
        if not isinstance(x, eqx.Module) and type(x).__module__.startswith("unspool."):
            return
        self._waiting.append(type(x))
        if isinstance(x, (types.MethodType, ft.partial)):
            self._waiting.extend(
                (x.__func__, x.__self__)
                if isinstance(x, types.MethodType)
                else (x.func, x.args, x.keywords)
            )
        for name in ("fget", "__func__", "__wrapped__", "method"):
            if not isinstance(x, eqx.Module) and (part := _part(x, name)) is not None:
                self._waiting.append(part)
        fields = getattr(x, "__dict__", None)
        if isinstance(fields, dict):
            if not isinstance(x, eqx.Module):
                self._collections.append((fields, _items(fields)))
            self._waiting.extend(fields.values())
        for kind in type(x).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                self._waiting.append(_part(x, name))


def _part(x: Any, name: str) -> Any:
    try:
        return getattr(x, name, None)
    except Exception:
        return None  # A descriptor's own business.


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


def _items(collection: Any) -> tuple[Any, ...]:
    if isinstance(collection, dict):
        return *collection, *collection.values()
    return tuple(collection)


def _digest(array: np.ndarray) -> bytes:
    if array.dtype.hasobject:
        return repr(array.tolist()).encode()
    return hashlib.blake2b(np.ascontiguousarray(array).view(np.uint8).data).digest()


def _names(code: types.CodeType) -> set[str]:
    """All names that code and the functions within it read."""
    inner = (_names(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def _is_of_others(file: str) -> bool:
    return file.startswith(_PLACES_OF_OTHERS)
