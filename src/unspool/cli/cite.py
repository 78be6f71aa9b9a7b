"""`unspool cite`: BibTeX of the sources of estimators, problems and experiments."""

import contextlib
from collections.abc import Sequence

from .. import _citation
from . import choices
from .errors import UsageError
from .options import POSITIONAL, Option, parse


def cite(argv: Sequence[str]) -> int:
    """Prints the entries of all names, each once, and of unspool itself."""
    given = parse(
        argv,
        prog="unspool cite",
        description="Prints BibTeX of unspool itself, and of what the named estimators, problems "
        "and experiments rest on.",
        printed=[Option("names", POSITIONAL, (), "as unspool list prints them", "none")],
    )["printed"]
    # A name that a problem and an experiment share stands for both.
    kinds = [choices.estimators(), choices.problems(), choices.experiments()]
    keys: list[str] = []
    for name in given["names"]:
        choices.choose("name", name, {known: known for kind in kinds for known in kind})
        for kind in kinds:
            with contextlib.suppress(UsageError):
                keys += _citation.references(choices.choose("name", name, kind))
    print(_citation.cite(*keys))
    return 0
