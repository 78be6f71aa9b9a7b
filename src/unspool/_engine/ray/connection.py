"""The connection to a cluster, or to a Ray of this machine alone."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

_STORE_BYTES = 128 * 2**20

_BY_ITSELF = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without it `ray.init` warns of what a later Ray will do about devices.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Actors have an environment of their own, and use no process that was started without it.
    "RAY_prestart_worker_first_driver": "0",
    # Has a Ray of one machine listen on the loopback device alone. It is read on import.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""The environment of a Ray that is started here, where it is not set otherwise."""


def connect(address: str | None, num_actors: int | None) -> None:
    """Joins a cluster, or starts one of this machine, unless there is one already."""
    with _environment({} if address else _BY_ITSELF), warnings.catch_warnings():
        # Of JAX: Ray starts its programs by a fork, which they leave at once.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        try:
            import ray
        except ImportError as error:
            raise ImportError(
                'RayEngine needs Ray, which is not there: pip install "unspool[ray]"'
            ) from error
        if ray.is_initialized():
            return
        if address:
            ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
            return
        more_than_there_are = num_actors is not None and num_actors > (os.cpu_count() or 1)
        ray.init(
            "local",
            num_cpus=num_actors if more_than_there_are else None,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Settings for what is started meanwhile, where there are none yet."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
