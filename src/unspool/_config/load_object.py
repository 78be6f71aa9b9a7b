"""Objects of the user's by file and name. To import a file is to run it."""

import functools
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from .errors import ConfigError, noting, suggest

_PREFIX = "_unspool_"


def load_object(spec: str, start: str | Path = ".") -> Any:
    """The object that a file or a package of yours holds under a name.

    The file is imported, which runs all that is in it: load only what you would run.

    **Arguments:**

    - `spec`: `file.py:NAME` or `package.module:NAME`.
    - `start`: the directory that files and packages are looked for in.

    **Raises:** `ConfigError` for what is not there, and what the file raises.

    **Example:**

    >>> import pathlib
    >>> _ = pathlib.Path("mine.py").write_text("level = 3")
    >>> unspool.load_object("mine.py:level")
    3
    """
    source, _, name = spec.rpartition(":")
    if not source:
        raise ConfigError(f"{spec} must be file.py:NAME or package.module:NAME")
    module = load_module(source, Path(start))
    try:
        return getattr(module, name)
    except AttributeError:
        names = [known for known in vars(module) if not known.startswith("_")]
        raise ConfigError(f"there is no {name!r} in {source}{suggest(name, names)}") from None


def load_module(source: str, start: Path) -> ModuleType:
    """The module in a file, or of a dotted name, which may lie in the directory `start`."""
    if source.endswith(".py"):
        return _load_file((start / source).resolve(), source)
    _add_to_sys_path(start.resolve())
    try:
        with noting(f"while importing {source}"):
            return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if source.startswith(error.name or " "):
            there = f"there is no module {source} (looked in {start.resolve()} too)"
            raise ConfigError(there) from None
        raise


def fingerprint(source: str, start: Path) -> str | None:
    """A digest of a file of the user's as it is now; `None` for what is installed.

    Files that it imports are not looked at.
    """
    if source.endswith(".py"):
        file = start / source
    else:
        spec = importlib.util.find_spec(source)
        file = Path(spec.origin) if spec and spec.origin else None
        if file is None or start.resolve() not in file.resolve().parents:
            return None
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def name_of_own(value: Any) -> str | None:
    """The name that `load_object` finds a class or a function of a user's file by, if it is one."""
    if not isinstance(value, type | FunctionType) or not value.__module__.startswith(_PREFIX):
        return None
    file = getattr(sys.modules.get(value.__module__), "__file__", None)
    is_nested = "." in value.__qualname__
    return None if file is None or is_nested else f"{file}:{value.__qualname__}"


def _load_file(file: Path, shown: str) -> ModuleType:
    if not file.is_file():
        near = [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []
        where = "" if file.is_absolute() and file.parent == Path.cwd() else f" in {file.parent}"
        raise ConfigError(
            f"there is no file {file.name}{where}" + (suggest(file.name, near) if near else "")
        )
    import jax  # Late, for settings are read without it.

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return _run_file(file, shown, digest, str(jax.numpy.result_type(float)))


@functools.lru_cache(maxsize=16)
def _run_file(file: Path, shown: str, digest: str, precision: str) -> ModuleType:
    """The module in a file, which is run once as long as it stays the same.

    Arrays that it makes are of the precision that is in force.
    """
    # A name of its own, so that a file called `random.py` hides no module.
    name = _PREFIX + file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{shown} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    _add_to_sys_path(file.parent)
    sys.modules[name] = module
    with noting(f"while importing {shown}"):
        spec.loader.exec_module(module)
    return module


def _add_to_sys_path(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
