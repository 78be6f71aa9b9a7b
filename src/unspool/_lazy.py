"""Imports that wait until something of them is asked for."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def load_on_demand(
    package: str, *modules: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose exports are the names in some of its modules.

    A name that is asked for imports all of the first module, and of the others until it is found.
    """

    def load(module: str) -> dict[str, Any]:
        exports = vars(importlib.import_module(f"{package}.{module}"))
        public = {name: value for name, value in exports.items() if not name.startswith("_")}
        vars(sys.modules[package]).update(public)
        return public

    def find(name: str) -> Any:
        if not name.startswith("_"):
            if importlib.util.find_spec(f"{package}.{name}") is not None:
                return importlib.import_module(f"{package}.{name}")
            for module in modules:
                if name in (exports := load(module)):
                    return exports[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        for module in modules:
            load(module)
        return sorted(vars(sys.modules[package]))

    return find, names
