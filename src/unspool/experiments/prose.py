"""Texts of experiments: Markdown files beside their modules, with places for values."""

import functools
import importlib.resources
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_WRAPPED = re.compile(r"\s*\n\s*(?!\s|[-*] |\d+\. )")
_SPECIAL = re.compile(r"([\\`*_<\[\]&])")


def prose(module: str, part: str = "", /, **values: Any) -> str:
    """The Markdown of the file `MODULE.md` beside a module, its places filled with values.

    A paragraph is one line. What is special in Markdown is escaped in values, which are text.

    **Arguments:**

    - `module`: the module's `__name__`.
    - `part`: a word for a further text of the module: `MODULE_PART.md`.
    - `values`: a value for every name in the file; jinja2 raises an error for one that is missing.

    **Example:**

    >>> from unspool.experiments.prose import prose
    >>> prose("unspool.experiments.published.toy_regression", num_updates=300)[:27]
    'The two ends of a learning-'
    """
    package, _, name = module.rpartition(".")
    file = importlib.resources.files(package) / f"{name}{part and '_'}{part}.md"
    text = _environment().from_string(file.read_text(encoding="utf-8")).render(values)
    paragraphs = re.split(r"\n{2,}", text.strip())
    return "\n\n".join(_WRAPPED.sub(" ", each) for each in paragraphs)


def _escape(value: Any) -> Any:
    return _SPECIAL.sub(r"\\\1", value) if isinstance(value, str) else value


@functools.cache
def _environment() -> "Environment":
    # Late, for it comes with an extra, and the library's exports need it not.
    from jinja2 import Environment, StrictUndefined

    return Environment(
        undefined=StrictUndefined, finalize=_escape, trim_blocks=True, lstrip_blocks=True
    )
