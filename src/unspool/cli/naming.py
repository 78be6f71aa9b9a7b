"""What the user wrote, by file and name: tasks and learned optimizers."""

from pathlib import Path
from typing import Any

from . import choices
from .mistakes import Mistake, suggest


def load_named(
    spec: str, start: Path, kinds: type | tuple[type, ...], *, only_instance: bool = False
) -> Any:
    """What `file.py:NAME` or `package.module:NAME` is.

    **Arguments:**

    - `spec`: the name.
    - `start`: the directory that files and packages are looked for in.
    - `kinds`: what it must be an instance of, or a subclass unless `only_instance`.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    words = " or ".join(kind.__name__ for kind in kinds)
    place, _, name = spec.rpartition(":")
    if not place:
        raise Mistake(f"{spec} must be file.py:NAME, where NAME is of {words}")

    def fits(value: Any) -> bool:
        is_class = isinstance(value, type) and not only_instance
        return isinstance(value, kinds) or (is_class and issubclass(value, kinds))

    if place.endswith(".py"):
        module = choices.load_file((start / place).resolve(), place)
    else:
        module = choices.load_module(place, start)
    found = getattr(module, name, None)
    held = [key for key, value in vars(module).items() if fits(value)]
    if found is None:
        raise Mistake(
            f"there is no {name!r} in {place}"
            + (suggest(name, held) if held else f", and nothing that is of {words}")
        )
    if not fits(found):
        is_class = isinstance(found, type)
        kind = f"the class {found.__name__}" if is_class else f"of type {type(found).__name__}"
        wanted = f"an instance of {words} of unspool.problems.learned_optimizer"
        raise Mistake(f"{spec} is {kind}, and must be {wanted}")
    return found
