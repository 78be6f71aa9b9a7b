"""Bytes that training needs, and bytes that there are."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from ._show import one_line


class Memory(NamedTuple):
    """Bytes that training needs besides the interpreter, JAX and the compiler.

    - `state`: what passes from one update to the next: parameters, optimizer, workers.
    - `work`: what an update needs while it runs.
    - `free`: what the device has left, or `None` where nobody says.
    """

    state: int
    work: int
    free: int | None

    def __repr__(self) -> str:
        known = {name: size for name, size in self._asdict().items() if size is not None}
        return one_line("Memory", {name: in_words(size) for name, size in known.items()})

    def __str__(self) -> str:
        return f"{in_words(self.state)} of state, {in_words(self.work)} of work"

    def check(self) -> None:
        """Raises `MemoryError` unless it fits."""
        if self.free is not None and self.state + self.work > self.free:
            raise MemoryError(
                f"training needs {in_words(self.state + self.work)} ({self}), and "
                f"{in_words(self.free)} are free; use fewer workers, or run them in chunks: "
                "Chunked(estimator, n), on the command line --chunk n"
            )


def read_memory(program: Any) -> Memory:
    """The bytes that a compiled program needs, which takes a state and returns the next one."""
    sizes = program.memory_analysis()
    state = sizes.argument_size_in_bytes
    copied = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return Memory(state, sizes.temp_size_in_bytes + copied, free_bytes())


def free_bytes() -> int | None:
    """The bytes that the default device has left."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        free.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # No control group, or one without a limit.
    return min(free, default=None)


def in_words(count: int) -> str:
    """`1.5 GiB`."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
