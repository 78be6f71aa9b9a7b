"""Trajectories of simulators on the processes of a Ray cluster."""

import math
import os
from typing import TYPE_CHECKING, Any

from ..._black_box import AbstractBlackBox
from ..._counts import check_count
from ..host import AbstractHostEngine
from ..make_runner import make_runner
from .connection import connect

if TYPE_CHECKING:
    from .executor import Traffic


class RayEngine(AbstractHostEngine):
    """Runs a problem of NumPy, or simulators of any kind, on the processes of a Ray cluster.

    Each process has a CPU of its own. The rows are those of `HostEngine`, and give the same bits,
    however many processes there are. Parameters and seeds go out; losses come back, and the states
    of an `AbstractHostProblem`. It pays where a segment of all rows takes a few milliseconds or
    more in one process. Processes are started when the first rows are to be run.

    - States travel with the rows: each share of rows is a *task* of Ray's. Where a process dies,
      Ray runs its task again, and nothing is lost. Tasks that are not back after half of
      `timeout` are given to a process without work too, and the first answer counts.
    - Simulators stay on the *actor* that has begun the episode. Ray restarts one that dies; its
      rows fail, so that their workers are left out, counted, and begin new episodes. An episode
      that was only just to begin is begun elsewhere.
    - Rows that are not back within `timeout` fail. Their process gets no others until it has
      answered; after three times as long it is killed.
    - Processes that come up later, on a cluster that has grown or after `resize`, get their share
      from the next segment on.

    `failures` has the tracebacks of what went wrong in a simulator, and the reasons for which rows
    were lost or processes given up.

    **Arguments:**

    - `problem`: what to run. It is pickled; what is defined in your own files goes along with it.
    - `num_actors`: how many actors, or tasks at a time; by default one on each CPU of the cluster.
    - `address`: a cluster to join, such as `"auto"` or `"10.0.0.1:6379"`. By default a Ray of this
      machine alone is started, unless the environment has `RAY_ADDRESS`. A Ray that this process is
      connected to already is used in any case.
    - `timeout`: seconds to wait for the rows of one segment.

    **Raises:** `ValueError` for a problem that `HostEngine` does not take, fewer than one actor, or
    a timeout that is not positive; `ImportError` without Ray: `pip install "unspool[ray]"`.
    """

    executor: Any

    def __init__(
        self,
        problem: AbstractBlackBox,
        num_actors: int | None = None,
        *,
        address: str | None = None,
        timeout: float = 60.0,
    ):
        runner = make_runner(problem)
        check_count(num_actors=num_actors)
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout must be a positive number of seconds, got {timeout}")
        connect(address or os.environ.get("RAY_ADDRESS"), num_actors)
        # They need Ray.
        from .actors import ActorExecutor
        from .tasks import TaskExecutor

        kind = TaskExecutor if runner.copies_states else ActorExecutor
        self.executor = kind(runner, num_actors, timeout)

    @property
    def traffic(self) -> "Traffic":
        """The sizes of what has been sent and has come back so far, and what was lost."""
        return self.executor.traffic

    def resize(self, num_actors: int | None) -> None:
        """Wants so many actors from now on; by `None` one on each CPU of the cluster.

        With the next segment new ones are started, or the newest are killed, and the episodes of
        their simulators are lost.
        """
        check_count(num_actors=num_actors)
        self.executor.num_actors = num_actors

    def close(self) -> None:
        """Kills the actors. Should there be rows to run again, new ones are started."""
        self.executor.close()
