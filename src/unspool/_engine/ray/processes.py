"""Processes of a cluster: their settings, their number, and how long the first is waited for."""

import time
import warnings
from typing import Any

import jax.numpy as jnp
import ray
from ray.exceptions import RayError

MOST_TRIES = 3
"""Number of processes that may die of the same rows before these are left out."""

_STUCK = 3.0
"""Number of time-outs that a process may take for an answer before it is killed."""

_MOST_STARTUP = 300.0
"""Seconds to wait for the first process of all."""

_LONG_STARTUP = 20.0
"""Seconds after which one would like to know what is missing."""


def remote_options() -> dict[str, Any]:
    """Options of Ray's for what runs rows: a CPU, and an environment of its own."""
    environment = {
        # A GPU is the driver's, and XLA, should a problem use it, needs one thread.
        "JAX_PLATFORMS": "cpu",
        "NPROC": "1",
        "JAX_ENABLE_X64": str(int(jnp.result_type(float) == jnp.float64)),
    }
    return {"num_cpus": 1, "runtime_env": {"env_vars": environment}}


def num_wanted(num_actors: int | None) -> int:
    """The number that was asked for; by default that of the cluster's CPUs as it is now."""
    return num_actors or max(1, int(ray.cluster_resources().get("CPU", 1)))


def stuck_after(timeout: float) -> float:
    """The seconds after which a process is killed that does not answer."""
    return _STUCK * timeout


def wait_for_first(pings: list[Any]) -> None:
    """Waits until one process is up, and then as long again for the others.

    **Raises:** `RuntimeError` if none comes up, or the first one cannot.
    """
    began = time.monotonic()
    come, _ = ray.wait(pings, timeout=_LONG_STARTUP)
    if not come:
        warnings.warn(f"no process is up yet: {_shortage()}", stacklevel=2)
        come, _ = ray.wait(pings, timeout=_MOST_STARTUP - _LONG_STARTUP)
    if not come:
        raise RuntimeError(f"no process came up within {_MOST_STARTUP:g} s: {_shortage()}")
    try:
        ray.get(come)
    except RayError as error:
        raise RuntimeError(f"no process could be started\n\n{error}") from error
    ray.wait(pings, num_returns=len(pings), timeout=time.monotonic() - began)


def _shortage() -> str:
    cpus = [kind().get("CPU", 0) for kind in (ray.cluster_resources, ray.available_resources)]
    return (
        "each needs a CPU of its own, and Ray has {:g}, of which {:g} are free. Ask for fewer "
        "actors, close engines that are not needed, or wait for more machines".format(*cpus)
    )
