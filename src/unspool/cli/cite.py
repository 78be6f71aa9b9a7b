"""`unspool cite`: BibTeX of the sources of estimators, problems and experiments."""

import contextlib
from collections.abc import Sequence

from .. import _citation
from .._config import names
from .._config.errors import ConfigError
from .._config.options import Option
from . import choices
from .options import POSITIONAL, parse

OPTIONS = [Option("names", POSITIONAL, (), "as unspool list prints them", "none")]


def cite(argv: Sequence[str]) -> int:
    """Prints the entries of all names, each once, and of unspool itself."""
    given = parse(
        argv,
        prog="unspool cite",
        description="Prints BibTeX of unspool itself, and of what the named estimators, problems "
        "and experiments rest on.",
        printed=OPTIONS,
    )["printed"]
    # A name that a problem and an experiment share stands for both.
    kinds = [names.estimators(), names.problems(), choices.experiments()]
    keys: list[str] = []
    for name in given["names"]:
        names.choose("name", name, {known: known for kind in kinds for known in kind})
        for kind in kinds:
            with contextlib.suppress(ConfigError):
                keys += _citation.references(names.choose("name", name, kind))
    print(_citation.cite(*keys))
    return 0
