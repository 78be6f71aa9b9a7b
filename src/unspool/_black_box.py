"""The interface to simulators that run on the host, in NumPy or beyond."""

import abc
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt64

from ._custom_types import Params, RandomKey
from ._episodes import Episodes
from ._params import map_arrays

HostParams = Any
"""Parameters with NumPy arrays; where rows are spoken of, every array leads with their axis."""

HostState = Any
"""Any pytree of NumPy arrays that lead with the axis of rows."""

Seeds = UInt64[np.ndarray, " rows"]
RowTimes = Int[np.ndarray, " rows"]


class AbstractBlackBox(abc.ABC):
    """A problem that is run outside of JAX: it has losses, and no derivatives.

    What it means is as for `AbstractProblem`: losses are minimized, their mean over the steps is
    the objective, and their total over an episode where episodes can end early. An exception in
    any method that runs rows ends a row's episode with a loss of NaN: its worker is left out and
    counted, and `failures` of the engine keeps the traceback. A method that returns the wrong
    shape or type stops everything with a `ValueError`.

    The methods may compute with JAX, which for them has a CPU device of its own.

    Instances are hashed and compared: make a subclass with fields a frozen dataclass. Every
    instance has an engine of its own, and so simulators of its own.
    """

    horizon: int

    @abc.abstractmethod
    def init_params(self, *, key: RandomKey) -> Params:
        """The parameters that training starts from: any pytree, as for `AbstractProblem`."""


class AbstractHostProblem(AbstractBlackBox):
    """A problem in NumPy whose states go in and come out: `AbstractProblem` on the host.

    All functions are pure, and given several rows at once, which have nothing to do with one
    another: parameters, states and everything else lead with an axis of `rows`. How many there
    are differs from call to call; three are tried out before anything is run. Equal seeds are to
    give equal random numbers: rows that are compared with one another get the same.

    **Example:**

    >>> import dataclasses
    >>> import numpy as np
    >>> @dataclasses.dataclass(frozen=True)
    ... class Tank(unspool.AbstractHostProblem):
    ...     horizon: int = 12
    ...     def init_params(self, *, key):
    ...         return np.array(0.2)
    ...     def init_state(self, params, *, seeds):
    ...         return np.zeros(len(seeds))
    ...     def step(self, params, state, t, *, seeds):
    ...         state = 0.8 * state + params
    ...         return state, (state - 1.0) ** 2
    >>> evaluation = unspool.evaluate(Tank(), np.array(0.2), key=jax.random.key(0))
    >>> print(f"{evaluation.loss:.2f}")
    0.15
    """

    @abc.abstractmethod
    def init_state(self, params: HostParams, *, seeds: Seeds) -> HostState:
        """The states before the first step."""

    @abc.abstractmethod
    def step(
        self, params: HostParams, state: HostState, t: RowTimes, *, seeds: Seeds
    ) -> tuple[HostState, Float[np.ndarray, " rows"]]:
        """The next states, and the losses of these new states.

        `t` counts the steps taken before this one, from 0 to `horizon - 1`. `seeds` are this
        step's own.
        """

    @property
    def episodes(self) -> Episodes:
        """The ends of episodes: after `horizon` steps, or early as `Episodes(is_done=...)` says.

        `is_done` is given the states of several rows and returns an array of as many booleans.
        Rows that are done are frozen and add no loss.
        """
        return Episodes()


class AbstractSimulatorProblem(AbstractBlackBox):
    """A problem made of simulators that keep their state to themselves, one for each row.

    Estimators that run every trajectory from start to end work with it (`FullES`, `PES`, `GPES`,
    `NRES`, `ESSingle`); one that copies states does not. A simulator is used for one episode after
    the other.
    """

    @abc.abstractmethod
    def make(self) -> Any:
        """A new simulator."""

    @property
    def version(self) -> Hashable:
        """The version of what simulators are made from, such as a file's time of change.

        Simulators of another version begin no further episode. Looked at with every episode.
        """
        return None

    @abc.abstractmethod
    def reset(self, simulator: Any, params: HostParams, *, seed: int) -> None:
        """Begins an episode, whose randomness is that of `seed`, at one row's parameters."""

    @abc.abstractmethod
    def step(self, simulator: Any, action: Any) -> tuple[float, bool]:
        """Takes a step, and returns its loss and whether the episode has ended with it.

        Their types are those of Python or of NumPy, or scalar arrays: a real number and a boolean.
        """

    def actions(self, simulators: Sequence[Any], params: HostParams, t: RowTimes) -> Sequence[Any]:
        """Actions of the simulators in the next step: by default each one's row of the parameters.

        All rows are decided for at once, so that a controller can be written with arrays. There is
        to be one action for each simulator, in order.
        """
        return [map_arrays(lambda x, i=i: x[i], params) for i in range(len(simulators))]
