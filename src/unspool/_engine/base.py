"""The interface to everything that runs trajectories."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, PyTree, Shaped

from .._counts import LARGEST, as_count
from .._custom_types import Clocks, KeyLike, Params, RowLosses, WorkerMask
from .._show import show


class Arms(eqx.Module):
    """The part of `Trajectories` that each one has of its own: arms x workers, or a single one.

    - `state`: that of the problem; of a trajectory that is done, the one that it ended in.
    - `done`: trajectories whose episode has ended; they are frozen and add no loss.
    - `taken`: steps that each has run in the episode; a frozen one runs none.
    """

    state: PyTree[Shaped[Array, "..."]]
    done: Bool[Array, "*rows"]
    taken: Int[Array, "*rows"]


class Clock(eqx.Module):
    """The part of `Trajectories` that the arms of a worker share, for all workers or for one.

    - `t`: steps into the episode.
    - `length`: steps of the episode.
    - `key`: the key of the episode's data; step `t` derives its own from it.
    """

    t: Int[Array, "*workers"]
    length: Int[Array, "*workers"]
    key: Key[Array, "*workers"]


class Trajectories(eqx.Module):
    """Rows of arms x workers. The arms of a worker share its clock and its keys."""

    arms: Arms
    clock: Clock

    @classmethod
    def begin(
        cls,
        state: PyTree[Shaped[Array, "arms workers ..."]],
        num_arms: int,
        keys: Key[Array, " workers"],
        length: Clocks,
    ) -> "Trajectories":
        """Episodes before their first step, none of them done."""
        done = jnp.zeros((num_arms, keys.shape[0]), bool)
        taken = jnp.zeros_like(done, int)
        return cls(Arms(state, done, taken), Clock(jnp.zeros_like(length), length, keys))

    @property
    def all_done(self) -> WorkerMask:
        """Workers all of whose arms are done."""
        return jnp.all(self.arms.done, axis=0)


class AbstractEngine(eqx.Module):
    """Runs trajectories. It alone knows `vmap`, `scan`, devices and simulators.

    Arm `a` of worker `i` runs with `params + shift[a, i]`; without `shift` all rows run with
    `params`.
    """

    differentiable: eqx.AbstractClassVar[bool]

    __repr__ = show

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """The number of steps of the longest episode."""

    @abc.abstractmethod
    def init_params(self, *, key: KeyLike) -> Params:
        """The parameters that training starts from."""

    @abc.abstractmethod
    def check(self, params: Params) -> None:
        """Raises `ValueError` or `TypeError` if trajectories cannot run with these parameters."""

    @abc.abstractmethod
    def start(
        self,
        params: Params,
        keys: Key[Array, " workers"],
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> Trajectories:
        """New episodes, one for each key; one arm unless `shift` has more."""

    @property
    def fixed_length(self) -> bool:
        """True if every episode is known to have `horizon` steps."""
        return False

    @property
    def ends_early(self) -> bool:
        """True if an episode may end before the length that it began with."""
        return not self.fixed_length

    @property
    def copies_states(self) -> bool:
        """True if a trajectory can go on from the state of another."""
        return True

    @property
    def failures(self) -> tuple[str, ...]:
        """The last few tracebacks of what went wrong outside of JAX."""
        return ()

    def settle(self, results: PyTree) -> PyTree:
        """Results of a program that has run this engine, once they are there.

        Within a program that is being compiled it does nothing.

        **Raises:** what has stopped the engine outside of JAX: a `MisuseError` for a method of the
        problem's that has returned what it may not, or what else was no failure of a row.
        """
        return results

    def shorten(self, trajectories: Trajectories, episodes: Clocks) -> Trajectories:
        """New episodes, given their numbers, which a curriculum makes their lengths depend on."""
        return trajectories

    @abc.abstractmethod
    def unroll(
        self,
        params: Params,
        trajectories: Trajectories,
        num_steps: int,
        shift: PyTree[Shaped[Array, "arms workers ..."]] | None = None,
    ) -> tuple[Trajectories, RowLosses]:
        """The rows `num_steps` later, and each row's loss summed over those steps.

        Running rows are to be a multiple of `num_steps` into their episodes, which is how windows
        go through an episode. An engine that makes use of it gives a row that would end somewhere
        in between a loss of NaN.
        """


def check_horizon(horizon: object) -> None:
    """Raises `ValueError` unless it is an integer of at least 1 that a clock can reach."""
    as_count("horizon", horizon, most=LARGEST)
