"""Loading of the user's own objects by file and name: tasks and learned optimizers."""

from pathlib import Path
from typing import Any

from .._config.errors import suggest
from .._config.load_object import load_module
from .errors import UsageError, as_usage_errors


def load_named(
    spec: str, start: Path, kinds: type | tuple[type, ...], *, only_instance: bool = False
) -> Any:
    """The object that `file.py:NAME` or `package.module:NAME` names.

    **Arguments:**

    - `spec`: the name.
    - `start`: the directory that files and packages are looked for in.
    - `kinds`: what it must be an instance of, or a subclass unless `only_instance`.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    kind_names = " or ".join(kind.__name__ for kind in kinds)
    source, _, name = spec.rpartition(":")
    if not source:
        raise UsageError(f"{spec} must be file.py:NAME, where NAME is of {kind_names}")

    def fits(value: Any) -> bool:
        is_class = isinstance(value, type) and not only_instance
        return isinstance(value, kinds) or (is_class and issubclass(value, kinds))

    with as_usage_errors(f"while importing {source}"):
        module = load_module(source, start)
    found = getattr(module, name, None)
    candidates = [key for key, value in vars(module).items() if fits(value)]
    if found is None:
        raise UsageError(
            f"there is no {name!r} in {source}"
            + (
                suggest(name, candidates)
                if candidates
                else f", and nothing that is of {kind_names}"
            )
        )
    if not fits(found):
        is_class = isinstance(found, type)
        kind = f"the class {found.__name__}" if is_class else f"of type {type(found).__name__}"
        wanted = f"an instance of {kind_names} of unspool.problems.learned_optimizer"
        raise UsageError(f"{spec} is {kind}, and must be {wanted}")
    return found
