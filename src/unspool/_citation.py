"""The papers and packages that the library rests on, as BibTeX."""

import functools
import importlib.metadata
import importlib.resources
import inspect
import re
from typing import Any


def version() -> str:
    """The installed version of the library."""
    try:
        return importlib.metadata.version("unspool")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def bibtex() -> dict[str, str]:
    """The entries of `references.bib` by key, one for each that a class names in `references`."""
    text = (importlib.resources.files("unspool") / "references.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {re.findall(r"\{(\w+),", entry)[0]: entry for entry in entries}


def references(thing: Any) -> list[str]:
    """The keys of what a class rests on, from its `references` and its docstring."""
    doc = inspect.getdoc(thing) or ""
    named = [key for key, entry in bibtex().items() if (arxiv := _arxiv(entry)) and arxiv in doc]
    given = getattr(thing, "references", ())
    return list(dict.fromkeys([*given, *named]))


def cite(*names: str) -> str:
    """BibTeX of unspool itself and of the papers with these keys, each once.

    **Raises:** `ValueError` for a key that has no entry.
    """
    known = bibtex()
    for name in names:
        if name not in known:
            raise ValueError(f"there is no reference {name!r}; there are: {', '.join(known)}")
    own = f"""\
@misc{{unspool,
  title = {{unspool: unbiased gradients through long unrolled computations}},
  author = {{{{The unspool authors}}}},
  note = {{Version {version()}}},
}}"""
    return "\n\n".join([own, *(known[name] for name in dict.fromkeys(names))])


def _arxiv(entry: str) -> str:
    return entry.partition("eprint = {")[2].partition("}")[0]
