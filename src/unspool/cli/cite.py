"""`unspool cite`: BibTeX of the sources of estimators, problems and experiments."""

from typing import Annotated

from .. import _citation
from .._config import names as _names
from ..experiments import known as _known
from .parse import Help


def cite(
    names: Annotated[tuple[str, ...], Help("as unspool list prints them", metavar="NAME ...")] = (),
    /,
) -> None:
    """Print BibTeX of unspool itself, and of what estimators, problems and experiments rest on."""
    # A name that a problem and an experiment share stands for both.
    kinds = [_names.estimators(), _names.problems(), _known.experiments()]
    keys: list[str] = []
    for name in names:
        _names.choose("name", name, {known: known for kind in kinds for known in kind})
        found = (_names.matching(name, kind) for kind in kinds)
        keys += [key for each in found if each is not None for key in _citation.references(each)]
    print(_citation.cite(*keys))
