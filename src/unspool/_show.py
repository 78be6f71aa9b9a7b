"""The look of objects in a terminal and in a notebook: short, and with the numbers."""

import html
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl
from jax.core import Tracer

from ._results import RESULTS, name_result

_MOST_NUMBERS = 6
"""Numbers of an array that are shown; of a larger one its type and its shape are."""

_WIDTH = 100
_LONGEST = 60
"""Letters of a tree that stands on a line with other things."""


def show(self: Any) -> str:
    """An object with its fields, those that are as by default left out.

    Small arrays are shown by their numbers, others by type and shape. It is made for the
    `__repr__` of a class.
    """
    return _format(self, _WIDTH)


def show_tree(tree: Any) -> str:
    """A tree on one line, or how many numbers it holds where that would be long."""
    text = " ".join(_format(tree, 10**6).split())
    if len(text) <= _LONGEST:
        return text
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))
    return f"<{count:,} numbers>"


def show_number(number: Any) -> str:
    """A number in six digits; one that is being traced as its type."""
    known = _is_known(number) if isinstance(number, jax.Array) else True
    return f"{float(number):.6g}" if known else _format(number, _WIDTH)


def one_line(name: str, facts: Mapping[str, str]) -> str:
    """`Name(first=..., second=...)`."""
    return f"{name}({', '.join(f'{fact}={text}' for fact, text in facts.items())})"


def as_table(title: str, rows: Mapping[str, str]) -> str:
    """A table of two columns as HTML, for the `_repr_html_` that a notebook asks for."""
    cell = '<td style="text-align: left">{}</td>'
    lines = [
        f"<tr>{cell.format(html.escape(name.replace('_', ' ')))}"
        f"{cell.format(html.escape(text))}</tr>"
        for name, text in rows.items()
    ]
    head = f'<tr><th colspan="2" style="text-align: left">{html.escape(title)}</th></tr>'
    return "\n".join(["<table>", head, *lines, "</table>"])


def _format(thing: Any, width: int) -> str:
    return wl.pformat(thing, width=width, custom=_as_text)


def _as_text(thing: Any) -> wl.AbstractDoc | None:
    """The words for what wadler_lindig has none or others for."""
    if isinstance(thing, type(RESULTS.successful)):
        is_known = all(map(_is_known, jax.tree.leaves(thing)))
        return wl.TextDoc(name_result(thing) if is_known else "RESULTS")
    if isinstance(thing, (jax.Array, jax.ShapeDtypeStruct, np.ndarray)):
        if _is_known(thing):
            return wl.TextDoc(_numbers(np.asarray(thing)))
        return wl.array_summary(thing.shape, thing.dtype.name, kind=None)
    return None


def _is_known(array: Any) -> bool:
    """True for few numbers that are there: not traced, not given away to a later update."""
    if isinstance(array, jax.Array):
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        if isinstance(array, Tracer) or is_key or array.is_deleted():
            return False
        if not array.is_fully_addressable:
            return False  # Parts of it are with other processes.
    elif not isinstance(array, np.ndarray):
        return False
    return array.size <= _MOST_NUMBERS


def _numbers(array: Any) -> str:
    if array.ndim:
        return f"[{', '.join(map(_numbers, array))}]"
    # By way of its own type: 0.1 in float32 is not 0.10000000149.
    return str(array[()])
