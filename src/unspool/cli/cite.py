"""`unspool cite`: BibTeX of what an estimator, a problem or an experiment rests on."""

from collections.abc import Sequence

from .. import _citation
from . import choices
from .options import Parser


def cite(words: Sequence[str]) -> int:
    """Prints the entries of all names, each once, and of unspool itself."""
    parser = Parser(
        prog="unspool cite",
        description="Prints BibTeX of unspool itself, and of what the named estimators, problems "
        "and experiments rest on.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="as `unspool list` prints them")
    given = parser.read(words)
    known = choices.experiments() | choices.problems() | choices.estimators()
    # A name that a problem and an experiment share stands for both.
    rest = [choices.experiments(), choices.problems()]
    keys: list[str] = []
    for name in given["names"]:
        things = [choices.choose("name", name, known)]
        things += [group[name] for group in rest if name in group]
        for thing in things:
            keys += _citation.references(thing)
    print(_citation.cite(*keys))
    return 0
