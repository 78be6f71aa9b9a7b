"""What every estimator is: state in, estimate and state out."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._custom_types import KeyLike, Params, RandomKey
from .._engine import AbstractEngine, AnyEngine, as_engine, settle
from .._engine.completed import complete
from .._params import split, strong
from .._programs import call_known_program, is_inside, known_program
from .._random import as_key, part_keys
from .._target import Target
from .tally import Estimate, Tally, conclude
from .workers import Workers

_IN_64_BITS = 'in 64 bits: jax.config.update("jax_enable_x64", True)'

EstimatorState = Workers | tuple[Workers, ...]
"""The workers of one problem, or those of each part of a `JointEngine`."""


class AbstractEstimator(eqx.Module):
    """Estimates the gradient of a problem's loss from partial unrolls.

    An estimator holds settings; what changes is in the state that `init` makes and `estimate`
    returns. Wherever an engine is wanted, a problem is taken too.
    """

    num_workers: eqx.AbstractVar[int]
    estimand: eqx.AbstractClassVar[str]

    @property
    @abc.abstractmethod
    def needs_derivatives(self) -> bool:
        """Whether steps are differentiated, which an engine may not allow."""

    @property
    def needs_copies(self) -> bool:
        """Whether trajectories go on from the state of another, which not all simulators allow."""
        return False

    @abc.abstractmethod
    def num_windows(self, horizon: int) -> int:
        """Estimates in one episode of `horizon` steps."""

    @property
    @abc.abstractmethod
    def num_rows(self) -> int:
        """Trajectories that run side by side: workers times arms."""

    @abc.abstractmethod
    def num_sequential_steps(self, horizon: int) -> int:
        """Problem steps of one estimate that have to follow one another."""

    def num_steps(self, horizon: int) -> int:
        """Problem steps that one estimate runs, all rows together."""
        return self.num_rows * self.num_sequential_steps(horizon)

    @abc.abstractmethod
    def num_warmup_windows(self, horizon: int) -> int:
        """Windows that `init` runs so that workers start at different places."""

    @abc.abstractmethod
    def target(self, horizon: int) -> Target:
        """The gradient that the mean of the estimates equals."""

    @abc.abstractmethod
    def _enlist(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        """Workers at the end of an episode, so that their first window gives birth to them."""

    @abc.abstractmethod
    def _advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[Tally, Workers]:
        """One window of every worker at hand. Those that fail are left out."""

    @abc.abstractmethod
    def _draw_phases(self, num_windows: int, key: RandomKey) -> Int[Array, " workers"]:
        """How many windows into the episode each worker starts."""

    def init(self, engine: AnyEngine, params: Params, *, key: KeyLike) -> EstimatorState:
        """The state before the first estimate: workers spread over the episode.

        **Arguments:**

        - `engine`: an engine, or a problem for the local one.
        - `params`: the parameters that the workers' first steps are run with.
        - `key`: the one source of randomness of all estimates that follow.

        Spreading many workers over a long episode can take a while; Ctrl-C stops it between two
        windows. The program is that of `estimate`, and is used again in the same way.

        **Raises:** `ValueError` if the engine cannot run these parameters, or cannot be
        differentiated and the estimator needs it, or if an estimate has more steps than can be
        counted.
        """
        state = self.enlist(engine, params, key)
        count = self.num_warmup_windows(as_engine(engine).horizon)
        if is_inside((params, state)):
            spread = lambda _, state: self._estimate(engine, params, state)[1]
            return jax.lax.fori_loop(0, count, spread, state)
        if count > 0:
            program = known_program(_estimate, (self, engine), params, state)
            for _ in range(count):
                _, state = settle(as_engine(engine), program(self, engine, params, state))
        return state

    def enlist(self, engine: AnyEngine, params: Params, key: KeyLike) -> EstimatorState:
        """As `init`, before the workers are spread.

        As many estimates as there are windows of warming up do that, and are to be thrown away.
        """
        engine, params = self._enter(engine, params)
        return call_known_program(_enlist, (self, engine), params, as_key(key))

    def _enlist_all(self, engine: AbstractEngine, params: Params, key: RandomKey) -> EstimatorState:
        num_windows = self.num_windows(engine.horizon)
        num_warmup = self.num_warmup_windows(engine.horizon)
        window = self.num_sequential_steps(engine.horizon)
        workers = []
        for part, part_key in zip(engine.parts, part_keys(key, len(engine.parts)), strict=True):
            phases = self._draw_phases(num_windows, part_key)
            mine = self._enlist(part, params, part_key)
            workers.append(mine.spread(phases, num_warmup, window))
        return tuple(workers) if len(workers) > 1 else workers[0]

    def estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        """One estimate at `params`, and the state for the next. A pure function.

        It is compiled once and used again while the same problem and estimator are passed, and
        what these read is as it was: arrays, globals and closures, methods. A file that `step`
        itself reads is not noticed here, as it is by `train`.
        """
        found = call_known_program(_estimate, (self, engine), params, state)
        return settle(as_engine(engine), found)

    def _estimate(
        self, engine: AnyEngine, params: Params, state: EstimatorState
    ) -> tuple[Estimate, EstimatorState]:
        engine, params = self._enter(engine, params)
        workers = (state,) if isinstance(state, Workers) else state
        pairs = zip(engine.parts, workers, strict=True)
        advanced = [self._advance(part, params, each) for part, each in pairs]
        window = self.num_sequential_steps(engine.horizon)
        learned = [
            after.learn(before, part, window)
            for part, before, (_, after) in zip(engine.parts, workers, advanced, strict=True)
        ]
        moved = tuple(after for after, _ in learned)
        censuses = [census for _, census in learned]
        steps_per_window = engine.horizon / self.num_windows(engine.horizon)
        tallies = [tally for tally, _ in advanced]
        ran_out = jnp.any(jnp.stack([each.ran_out for each in moved]))
        estimate = conclude(tallies, censuses, params, self.num_workers, steps_per_window, ran_out)
        return estimate, moved[0] if isinstance(state, Workers) else moved

    def _enter(self, engine: AnyEngine, params: Params):
        engine = as_engine(engine)
        if self.needs_derivatives and not engine.differentiable:
            raise ValueError(
                f"{type(self).__name__} needs derivatives, which {type(engine).__name__} has not; "
                "estimators that would work: FullES, TruncatedES, PES, GPES, NRES, ESSingle"
            )
        if self.needs_copies and not engine.copies_states:
            raise ValueError(
                f"{type(self).__name__} has trajectories go on from the state of another, and "
                "these simulators keep their state to themselves; estimators that would work: "
                "FullES, PES, GPES, NRES, ESSingle"
            )
        engine.check(params)
        trained, fixed = split(strong(params))
        self._check_counts(engine)
        return complete(engine, fixed), trained

    def _check_counts(self, engine: AbstractEngine) -> None:
        """Raises `ValueError` if an estimate has more steps than an integer of JAX can count."""
        horizon, most = engine.horizon, jnp.iinfo(jnp.result_type(int)).max
        window = self.num_sequential_steps(horizon)
        steps = len(engine.parts) * self.num_steps(horizon)
        if steps > most:
            raise ValueError(
                f"an estimate may have at most {most} problem steps, got {steps} with "
                f"num_workers={self.num_workers} and windows of {window} steps: have fewer "
                f"workers or shorter windows, or count {_IN_64_BITS}"
            )
        if self.num_windows(horizon) * window > most:
            raise ValueError(
                f"horizon must be at most {most - most % window} with windows of {window} steps, "
                f"got {horizon}: have a shorter one, or count {_IN_64_BITS}"
            )


def _enlist(estimator: AbstractEstimator, *arguments):
    return estimator._enlist_all(*arguments)


def _estimate(estimator: AbstractEstimator, *arguments):
    return estimator._estimate(*arguments)
