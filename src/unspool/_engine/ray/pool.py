"""The actors that hold simulators: started, watched, replaced."""

import dataclasses
import itertools
import time
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from .processes import MOST_TRIES, num_wanted, remote_options, stuck_after, wait_for_first
from .remote_runner import RemoteRunner


@dataclasses.dataclass(eq=False)
class Actor:
    """An actor from when it is started, or restarted, until it dies.

    - `number`: its own, of all that there have been.
    - `pending`: answers that have to be there before it gets rows: at first the one that names its
      `process`, later those that are late, the first of them since `late_since`.
    - `evict`: start seeds of episodes that it is to give up.
    """

    handle: Any
    number: int
    pending: list[Any]
    process: str = ""
    late_since: float = 0.0
    evict: list[int] = dataclasses.field(default_factory=list)

    def __str__(self):
        return f"actor {self.process}" if self.process else "an actor"


class ActorPool:
    """Starts as many actors as are wanted, or as can be had, and watches them. Ray restarts them.

    (`ray.util.ActorPool` gives a value to any actor; here rows have to go to their simulators.)

    - `errors`: for each actor that has been given up, why.

    **Arguments:** `timeout`, seconds after which an answer is late.
    """

    def __init__(self, timeout: float):
        self.actors: list[Actor] = []
        self.errors: list[str] = []
        self._timeout = timeout
        self._not_before = 0.0
        self._numbers = itertools.count(1)
        self._spec: list[Any] = []
        self._kind: Any = None

    def start(self, spec: list[Any], num_actors: int | None) -> None:
        """Starts actors and waits for the first of them."""
        self._spec = spec
        # A call waits for an actor that is being restarted.
        options = ray.remote(**remote_options(), max_restarts=-1, max_task_retries=-1)
        self._kind = options(RemoteRunner)
        self._fill(num_actors)
        wait_for_first([actor.pending[0] for actor in self.actors])

    def shrink(self, size: int) -> None:
        """Kills those that are too many, the newest first."""
        while len(self.actors) > size:
            self._discard(self.actors[-1])

    def ready(self, num_actors: int | None, timeout: float) -> list[Actor]:
        """Actors that can be given rows. They are waited for only where there are none.

        What is missing is started.
        """
        end = time.monotonic() + timeout
        while True:
            for actor in [actor for actor in self.actors if actor.pending]:
                self._look_after(actor)
            self._fill(num_actors)
            found = [actor for actor in self.actors if not actor.pending]
            if found or time.monotonic() >= end:
                return found
            time.sleep(0.05)

    def replace(self, actor: Actor, why: str) -> None:
        """Takes note that an actor has died: Ray restarts it, without anything that it had."""
        if actor in self.actors:
            self.errors.append(f"{actor} has been given up: {why}")
            self.actors[self.actors.index(actor)] = self._ping(actor.handle)

    def _look_after(self, actor: Actor) -> None:
        """Sees what has come of an actor that was not ready."""
        come, actor.pending = ray.wait(actor.pending, num_returns=len(actor.pending), timeout=0)
        for ref in come:
            try:
                answer = ray.get(ref)
            except RayError as error:
                if not actor.process:
                    # It may fail again and again. The others have work to do meanwhile.
                    self._not_before = time.monotonic() + self._timeout
                    self.errors.append(f"{actor} has been given up: it cannot be started: {error}")
                    return self._discard(actor)
                if not isinstance(error, RayTaskError):
                    return self.replace(actor, str(error))
            else:
                actor.process = actor.process or answer
        limit = stuck_after(self._timeout)
        if actor.pending and actor.process and time.monotonic() > actor.late_since + limit:
            ray.kill(actor.handle, no_restart=False)
            self.replace(actor, f"it had not answered for {limit:g} s")

    def _fill(self, num_actors: int | None) -> None:
        if time.monotonic() >= self._not_before:
            for _ in range(num_wanted(num_actors) - len(self.actors)):
                self.actors.append(self._ping(self._kind.remote()))

    def _ping(self, handle: Any) -> Actor:
        """An actor that is ready once it has answered."""
        number = next(self._numbers)
        # Tried again, but not for ever, where the process dies of it.
        ping = handle.ping.options(max_task_retries=MOST_TRIES)
        return Actor(handle, number, [ping.remote(self._spec, number)])

    def _discard(self, actor: Actor) -> None:
        self.actors.remove(actor)
        if ray.is_initialized():
            ray.kill(actor.handle)
