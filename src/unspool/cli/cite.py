"""`unspool cite`: BibTeX of what an estimator, a problem or an experiment rests on."""

import contextlib
from collections.abc import Sequence

from .. import _citation
from . import choices
from .mistakes import Mistake
from .options import NAMES, Option, read


def cite(words: Sequence[str]) -> int:
    """Prints the entries of all names, each once, and of unspool itself."""
    given = read(
        words,
        prog="unspool cite",
        description="Prints BibTeX of unspool itself, and of what the named estimators, problems "
        "and experiments rest on.",
        printed=[Option("names", NAMES, (), "as unspool list prints them", "none")],
    )["printed"]
    # A name that a problem and an experiment share stands for both.
    kinds = [choices.estimators(), choices.problems(), choices.experiments()]
    keys: list[str] = []
    for name in given["names"]:
        choices.choose("name", name, {known: known for kind in kinds for known in kind})
        for kind in kinds:
            with contextlib.suppress(Mistake):
                keys += _citation.references(choices.choose("name", name, kind))
    print(_citation.cite(*keys))
    return 0
