"""Imports that wait until something of them is asked for."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def load_on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose exports are the names in its `_exports`.

    The first name that is asked for imports them all, as an import of the package once did.
    """

    def load() -> dict[str, Any]:
        exports = vars(importlib.import_module(f"{package}._exports"))
        public = {name: value for name, value in exports.items() if not name.startswith("_")}
        vars(sys.modules[package]).update(public)
        return public

    def find(name: str) -> Any:
        if not name.startswith("_"):
            if importlib.util.find_spec(f"{package}.{name}") is not None:
                return importlib.import_module(f"{package}.{name}")
            exports = load()
            if name in exports:
                return exports[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        load()
        return sorted(vars(sys.modules[package]))

    return find, names
