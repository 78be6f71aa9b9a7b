"""Compiled programs on disk, so that the next process need not compile them."""

import hashlib
import os
import platform
import sys
from pathlib import Path

_LARGEST = 2**30


def cache_programs(directory: str | Path | None = None, *, max_bytes: int = _LARGEST) -> Path:
    """Keeps compiled programs on disk, and takes them from there: XLA's persistent cache.

    To be called before the first computation. The command line does so by itself; processes that
    this one starts do as it does. Whatever goes into a program is part of the name that it is found
    by, so that it is never out of date. The directory holds code that will be run: it should be
    nobody else's.

    **Arguments:**

    - `directory`: where; by default one of unspool's in the user's cache. Programs are made for
      the instructions that a processor has, so each kind has a directory of its own in it.
    - `max_bytes`: the size at which programs that have not been used for long are given up.

    **Returns:** the directory for this kind of processor.

    **Raises:** `ValueError` for `max_bytes` below 1.

    **Example:**

    >>> unspool.cache_programs("programs").parent.name
    'programs'
    """
    import jax

    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
    settings = cache_settings(directory, max_bytes)
    os.environ.update(settings)
    for name, value in settings.items():
        jax.config.update(name.lower(), int(value) if value.isdigit() else value)
    return Path(settings["JAX_COMPILATION_CACHE_DIR"])


def cache_for_commands() -> None:
    """Does so for a command, before JAX is imported, unless the user has settings of their own.

    Where the directory cannot be made, nothing is kept.
    """
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return
    settings = cache_settings()
    try:
        Path(settings["JAX_COMPILATION_CACHE_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # A RuntimeError where nobody knows a home.
        return
    os.environ.update(settings)


def cache_settings(
    directory: str | Path | None = None, max_bytes: int = _LARGEST
) -> dict[str, str]:
    """The settings of JAX that do so, as the environment holds them."""
    root = Path(directory) if directory is not None else _user_cache() / "unspool" / "programs"
    return {
        "JAX_COMPILATION_CACHE_DIR": str(root.absolute() / _processor()),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(max_bytes),
        # Programs of a few milliseconds add up to a second.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """A name for the kind of processor: code for one may crash another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    known = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    digest = hashlib.sha256("\n".join(sorted(set(known or lines[:1]))).encode())
    return f"{platform.machine()}-{digest.hexdigest()[:16]}"
