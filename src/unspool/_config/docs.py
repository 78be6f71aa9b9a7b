"""Docstrings as plain text for a terminal."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any


def summary(thing: Callable[..., Any]) -> str:
    """The first line of the docstring of a class or a function, without markup."""
    return strip_markup(inspect.cleandoc(thing.__doc__ or "").partition("\n")[0])


def argument_docs(doc: str, names: Sequence[str]) -> dict[str, str]:
    """The documentation of each argument: `` - `name`: text `` or `name: text`."""
    docs: dict[str, str] = {}
    current, indent = [], 0
    for line in doc.splitlines():
        depth = len(line) - len(line.lstrip())
        match = re.match(r"\s*(?:[-*] )?((?:`?\w+`?(?:, )?)+)(?: ?\([^)]*\))?:\s+(\S.*)", line)
        found = re.findall(r"\w+", match[1]) if match else []
        if match and found and set(found) <= set(names):
            current, indent = found, depth
            docs |= {name: strip_markup(match[2]) for name in found}
        elif line.strip() and current and depth > indent:
            docs |= {name: f"{docs[name]} {strip_markup(line)}" for name in current}
        else:
            current = []
    return {name: text.rstrip(".;") for name, text in docs.items()}


def first_sentence(text: str) -> str:
    """A text up to the first full stop, or a remark on types that follows a colon of Sphinx."""
    return re.split(r"\. (?=[A-Z])|, see :", text)[0]


def strip_markup(text: str) -> str:
    """Documentation without its markup."""
    text = re.sub(r"\\mathrm\{(.*?)\}|[`$\\]|\*\*", r"\1", text)
    return " ".join(text.split())
