"""`unspool cite`: BibTeX of the sources of estimators, problems and experiments."""

from typing import Annotated

from ..experiments import cite as _cite
from .parse import Help


def cite(
    names: Annotated[tuple[str, ...], Help("as unspool list prints them", metavar="NAME ...")] = (),
    /,
) -> None:
    """Print BibTeX of unspool itself, and of what estimators, problems and experiments rest on."""
    print(_cite.cite(*names))
