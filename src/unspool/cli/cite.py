"""`unspool cite`: BibTeX of the sources of estimators, problems and experiments."""

import contextlib
from typing import Annotated

from .. import _citation
from .._config import names as _names
from .._config.errors import ConfigError
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
        for kind in kinds:
            with contextlib.suppress(ConfigError):
                keys += _citation.references(_names.choose("name", name, kind))
    print(_citation.cite(*keys))
