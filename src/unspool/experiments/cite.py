"""`unspool.cite`: BibTeX of the sources of estimators, problems and experiments."""

from .. import _citation
from .._config.names import choose, estimators, matching, problems
from . import known


def cite(*names: str) -> str:
    """BibTeX of the library itself, and of what is named rests on, each entry once.

    **Arguments:**

    - `names`: of estimators, problems and experiments, as `unspool list` prints them. One that a
      problem and an experiment share stands for both.

    **Raises:** `ConfigError` for a name that is not there.

    **Example:**

    >>> [line for line in unspool.cite("nres").splitlines() if line.startswith("@")]
    ['@misc{unspool,', '@inproceedings{li2023,']
    """
    kinds = [estimators(), problems(), known.experiments()]
    keys: list[str] = []
    for name in names:
        choose("name", name, {entry: entry for kind in kinds for entry in kind})
        found = (matching(name, kind) for kind in kinds)
        keys += [key for each in found if each is not None for key in _citation.references(each)]
    return _citation.cite(*keys)
