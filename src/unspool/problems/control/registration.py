"""The current registration of a Gymnasium environment."""

import os
from collections.abc import Hashable, Iterable
from typing import Any


class Registration:
    """Equal as long as an environment is made in the same way: of the same entry and files."""

    def __init__(self, spec: Any, entry: Any, files: tuple[Hashable, ...]):
        self.spec = spec
        self.entry = entry
        self.files = files

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Registration)
            and other.spec is self.spec
            and other.entry is self.entry
            and other.files == self.files
        )

    def __hash__(self) -> int:
        return hash((id(self.spec), id(self.entry), self.files))


def read_registration(gymnasium: Any, id: str, options: Iterable[Any]) -> Registration:
    """Reads the registration of `id`, with the files named among its arguments and `options`."""
    spec = gymnasium.spec(id)
    entry = spec.entry_point
    if isinstance(entry, str):
        entry = gymnasium.envs.registration.load_env_creator(entry)
    names = (*spec.kwargs.values(), *options)
    return Registration(spec, entry, tuple(_stamp(x) for x in names if isinstance(x, str)))


def _stamp(name: str) -> Hashable:
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size
