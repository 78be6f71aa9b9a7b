"""Trajectories of simulators on the actors of a Ray cluster."""

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from .._black_box import AbstractBlackBox
from .._counts import check_count
from .executor import AbstractExecutor
from .host import AbstractHostEngine, check_black_box

if TYPE_CHECKING:
    from .ray_stage import RayExecutor, Traffic

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


class RayEngine(AbstractHostEngine):
    """Runs a problem of NumPy, or simulators of any kind, on the actors of a Ray cluster.

    Each actor is a process with a CPU of its own. The rows are those of `HostEngine`, and give the
    same bits, however many actors there are. Parameters and seeds go out; losses come back, and the
    states of an `AbstractHostProblem`. Simulators stay on the actor that has begun the episode.
    It pays where a segment of all rows takes a few milliseconds or more in one process. Actors are
    started when the first rows are to be run, and killed by `close`, or when the program ends.

    - An actor that dies is replaced. States were sent along with the rows, which others then run
      instead: nothing is lost. Simulators are: their rows fail, so that the workers are left out,
      counted, and begin new episodes. An episode that was only just to begin is begun elsewhere.
    - Rows that are not back within `patience` fail, and their actor gets no others until it has
      answered; after three times as long it is replaced. States that are not back after half of
      it are sent to an actor without work too, and the first answer counts.
    - Actors that come up later, on a cluster that has grown or after `resize`, get their share from
      the next segment on.

    `failures` has the tracebacks of what went wrong in a simulator, and the reasons for which rows
    were lost.

    **Arguments:**

    - `problem`: what to run. It is pickled; what is defined in your own files goes along with it.
    - `num_actors`: how many are wanted; by default one on each CPU of the cluster.
    - `address`: a cluster to join, such as `"auto"` or `"10.0.0.1:6379"`. By default a Ray of this
      machine alone is started, unless the environment has `RAY_ADDRESS`. A Ray that this process is
      connected to already is used in any case.
    - `patience`: seconds to wait for the rows of one segment.

    **Raises:** `ValueError` for a problem that `HostEngine` does not take, fewer than one actor, or
    a patience that is not positive; `ImportError` without Ray: `pip install "unspool[ray]"`.
    """

    executor: AbstractExecutor

    def __init__(
        self,
        problem: AbstractBlackBox,
        num_actors: int | None = None,
        *,
        address: str | None = None,
        patience: float = 60.0,
    ):
        check_black_box(problem)
        check_count(num_actors=num_actors)
        if not 0 < patience < math.inf:
            raise ValueError(f"patience must be a positive number of seconds, got {patience}")
        _connect(address or os.environ.get("RAY_ADDRESS"), num_actors)
        from .ray_stage import RayExecutor

        self.executor = RayExecutor(problem, num_actors, patience)

    @property
    def traffic(self) -> "Traffic":
        """What has gone to the actors and come back so far, and what was lost on the way."""
        return self._rays.traffic

    def resize(self, num_actors: int | None) -> None:
        """Wants so many actors from now on; by `None` one on each CPU of the cluster.

        New ones are started with the next segment. Of too many the newest are killed at once, and
        episodes of their simulators are lost.
        """
        check_count(num_actors=num_actors)
        self._rays.resize(num_actors)

    def close(self) -> None:
        """Kills the actors. Should there be rows to run again, new ones are started."""
        self._rays.close()

    @property
    def _rays(self) -> "RayExecutor":
        return cast("RayExecutor", self.executor)


def _connect(address: str | None, num_actors: int | None) -> None:
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
