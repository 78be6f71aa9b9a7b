"""The actors of a `RayEngine`: started, watched, replaced."""

import dataclasses
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from .._black_box import AbstractBlackBox, HostParams, HostState
from .._params import map_arrays
from .ray_actor import RowsActor

_MOST_STARTUP = 300.0
"""Seconds to wait for the first actor of all."""

_LONG_STARTUP = 20.0
"""Seconds after which one would like to know what is missing."""

_STUCK = 3.0
"""How many patiences an actor may take for an answer before it is replaced."""


@dataclasses.dataclass(eq=False)
class Member:
    """One actor, as seen from where its orders come from.

    - `greeting`: comes back once it is up; `pid` and `host` are then known.
    - `overdue`: answers that were waited for in vain, and `since` when.
    - `forget`: start seeds of episodes that it is to give up.
    """

    handle: Any
    greeting: Any
    pid: int = 0
    host: str = ""
    overdue: list[Any] = dataclasses.field(default_factory=list)
    since: float = 0.0
    forget: list[int] = dataclasses.field(default_factory=list)
    alive: bool = True

    def __str__(self):
        return f"actor {self.pid} on {self.host}" if self.pid else "an actor"


class Crew:
    """As many actors as are wanted, or those of them that can be had.

    **Arguments:**

    - `blueprint`: what every actor is made from.
    - `num_actors`: how many are wanted; `None` for one on each CPU of the cluster.
    - `patience`: seconds after which an answer is overdue.
    """

    def __init__(self, blueprint: bytes, num_actors: int | None, patience: float):
        self.members: list[Member] = []
        self.restarts = 0
        self.complaints: list[str] = []
        self._num_actors = num_actors
        self._patience = patience
        self._assembled = False
        self._not_before = 0.0
        self._num_gone = 0
        self._blueprint = ray.put(blueprint)
        environment = {
            # A GPU is the driver's, and XLA, should a problem use it, needs one thread.
            "JAX_PLATFORMS": "cpu",
            "NPROC": "1",
            "JAX_ENABLE_X64": str(int(jnp.result_type(float) == jnp.float64)),
        }
        self._actor: Any = ray.remote(
            num_cpus=1, max_restarts=0, max_task_retries=0, runtime_env={"env_vars": environment}
        )(RowsActor)

    def resize(self, num_actors: int | None) -> None:
        """Wants so many from now on. Those that are too many are killed, the newest first."""
        self._num_actors = num_actors
        while num_actors is not None and len(self.members) > num_actors:
            self._remove(self.members[-1])

    def assemble(self) -> None:
        """Waits for the first actors, once: for all of them, but for none too long.

        When one is up, the others are given as long again as it has taken.

        **Raises:** `RuntimeError` if not a single one comes up.
        """
        if self._assembled:
            return
        began = time.monotonic()
        told = False
        while not self._ready():
            if not self.members:
                raise RuntimeError(f"no actor could be started\n\n{self.complaints[-1]}")
            seconds = time.monotonic() - began
            if seconds > _MOST_STARTUP:
                raise RuntimeError(f"no actor came up within {_MOST_STARTUP:g} s: {_shortage()}")
            if seconds > _LONG_STARTUP and not told:
                told = True
                warnings.warn(f"no actor is up yet: {_shortage()}", stacklevel=2)
            self._pause(_MOST_STARTUP)
        enough = 2 * time.monotonic() - began
        while not all(member.pid for member in self.members) and time.monotonic() < enough:
            self._pause(enough - time.monotonic())
            self._ready()
        self._assembled = True

    def muster(self, timeout: float) -> list[Member]:
        """Those that can be given orders. Only where there are none are they waited for.

        What is missing is started.
        """
        deadline = time.monotonic() + timeout
        while not (ready := self._ready()) and (left := deadline - time.monotonic()) > 0:
            self._pause(left)
        return ready

    def bury(self, member: Member, why: str) -> None:
        """One that has died, or must: another is started in its place."""
        if member.alive:
            self.complaints.append(f"{member} has been given up: {why}")
            self._remove(member)
            self._num_gone += 1

    def close(self) -> None:
        """Kills all actors."""
        while self.members:
            self._remove(self.members[-1])

    def _ready(self) -> list[Member]:
        for member in list(self.members):
            if not member.pid:
                self._welcome(member)
            elif member.overdue:
                self._look_after(member)
        self._fill()
        return [member for member in self.members if member.pid and not member.overdue]

    def _welcome(self, member: Member) -> None:
        """Learns that an actor has come up, or that it could not."""
        if not _have_come([member.greeting]):
            return
        try:
            member.pid, member.host = ray.get(member.greeting)
        except RayError as error:
            # It may fail again and again. The others have work to do meanwhile.
            self._not_before = time.monotonic() + self._patience
            self.bury(member, f"it could not be started: {error}")

    def _look_after(self, member: Member) -> None:
        """Sees whether an actor that kept us waiting has answered at last."""
        come = _have_come(member.overdue)
        member.overdue = [answer for answer in member.overdue if answer not in come]
        try:
            for answer in come:
                ray.get(answer)
        except RayTaskError:
            pass
        except RayError as error:
            return self.bury(member, str(error))
        if member.overdue and time.monotonic() > member.since + _STUCK * self._patience:
            self.bury(member, f"it had not answered for {_STUCK * self._patience:g} s")

    def _fill(self) -> None:
        wanted = self._num_actors
        if wanted is None:
            wanted = max(1, int(ray.cluster_resources().get("CPU", 1)))
        if time.monotonic() < self._not_before:
            return
        for _ in range(wanted - len(self.members)):
            handle = self._actor.remote(self._blueprint)
            self.members.append(Member(handle, handle.greet.remote()))
            if self._num_gone:
                self._num_gone -= 1
                self.restarts += 1

    def _remove(self, member: Member) -> None:
        self.members.remove(member)
        member.alive = False
        if ray.is_initialized():
            ray.kill(member.handle)

    def _pause(self, most: float) -> None:
        """Waits for something to happen, and looks up now and then: the cluster may have grown."""
        waiting = [member.greeting for member in self.members if not member.pid]
        waiting += [answer for member in self.members for answer in member.overdue]
        most = max(0.0, min(most, 1.0))
        if waiting:
            ray.wait(waiting, num_returns=1, timeout=most)
        else:
            time.sleep(min(most, 0.1))


def _shortage() -> str:
    cpus = [kind().get("CPU", 0) for kind in (ray.cluster_resources, ray.available_resources)]
    return (
        "each needs a CPU of its own, and Ray has {:g}, of which {:g} are free. Ask for fewer "
        "actors, close engines that are not needed, or wait for more machines".format(*cpus)
    )


def make_blueprint(problem: AbstractBlackBox, params: HostParams, state: HostState) -> bytes:
    """A pickle of all that an actor has to know, for other processes and machines.

    What is defined in the user's own files goes along with it; what is installed must be installed
    there too.
    """
    trees = map_arrays(lambda x: x[:0], (params, state))
    num_leaves = [len(jax.tree.leaves(eqx.filter(tree, eqx.is_array))) for tree in trees]
    modules = {kind.__module__.partition(".")[0] for kind in type(problem).__mro__}
    own = [sys.modules[name] for name in sorted(modules) if not _is_installed(name)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        blueprint = (problem, trees, num_leaves)
        return cloudpickle.dumps(blueprint)  # pyright: ignore[reportPrivateImportUsage]
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_installed(name: str) -> bool:
    """Whether a module is sure to be found by its name, on other machines too."""
    module = sys.modules.get(name)
    if module is None or name in {"__main__", "unspool"} or name in sys.stdlib_module_names:
        # What has no module that can be looked up is sent along in any case.
        return True
    files = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    homes = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")]
    found = [Path(file).resolve() for file in files if file]
    return any(home in file.parents for home in homes for file in found)


def _have_come(answers: list[Any]) -> list[Any]:
    """Those that are there, without waiting for them."""
    return ray.wait(answers, num_returns=len(answers), timeout=0)[0]
