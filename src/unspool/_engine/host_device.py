"""Where simulators that compute with JAX do so."""

import functools as ft
from typing import Any

from jaxlib import xla_client


@ft.cache
def host_device() -> Any:
    """A CPU device with threads of its own, for what simulators compute with JAX.

    They are called in the middle of a program, most often on a thread of the pool that the CPU's
    programs share. What they had computed there would be handed to that pool, and where it has no
    other thread (`NPROC=1`, or a machine with one core) be waited for without end.
    """
    return xla_client.make_cpu_client(asynchronous=False, num_devices=1).devices()[0]
