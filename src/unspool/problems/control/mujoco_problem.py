"""Shared code of the MuJoCo control problems."""

import abc
import dataclasses
import functools as ft
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Float, UInt8

from ..._black_box import AbstractHostProblem, HostParams
from ..._custom_types import Params
from .._check import check_integer
from .linear_policy import LinearPolicy
from .mujoco_rows import MujocoRows, load_model
from .normalization import Normalization, measure
from .pictures import View, draw
from .policy import AbstractPolicy

MujocoState = dict[str, np.ndarray]
"""`simulation`, MuJoCo's full state of each row, and the fields that are `carried` with it."""

RowValues = Float[np.ndarray, " rows"]
Actions = Float[np.ndarray, "rows actions"]

_MAX_ROLLOUTS = 16


@dataclasses.dataclass(frozen=True)
class AbstractMujocoProblem(AbstractHostProblem):
    r"""A policy in a model of MuJoCo, with the observations and rewards of Gymnasium's v5.

    $$ a_t = \mathrm{policy}(\theta, o(s_t)), \quad s_{t+1} = \mathrm{simulate}(s_t, a_t), \quad
       \ell_t = -r(s_t, a_t, s_{t+1}) $$

    Observations, rewards and ends are Gymnasium's to the last bit, and so is the start of an
    episode: a seed draws what `env.reset(seed=seed)` draws. Where a simulation explodes, and MuJoCo
    quietly begins it anew, the loss is NaN: the worker is left out and counted.

    A subclass names its model, and says what is observed, rewarded and drawn.
    """

    horizon: int = 1000
    policy: AbstractPolicy = LinearPolicy()
    clip_actions: bool = False
    normalize_over: int = 0
    num_threads: int | None = None

    model_file: ClassVar[str]
    """The name of the file among the models of Gymnasium."""
    frame_skip: ClassVar[int]
    """Steps of the simulation in one of the problem."""
    carried: ClassVar[tuple[str, ...]] = ()
    """Fields of `MjData` that observations or rewards are made of besides the state."""
    view: ClassVar[View] = View()

    def __post_init__(self):
        check_integer("horizon", self.horizon)
        check_integer("normalize_over", self.normalize_over, least=0)
        if self.num_threads is not None:
            check_integer("num_threads", self.num_threads)

    @abc.abstractmethod
    def observe(self, state: MujocoState) -> Float[np.ndarray, "rows observations"]:
        """Observations of the states, before they are normalized."""

    @abc.abstractmethod
    def reward(self, before: MujocoState, actions: Actions, after: MujocoState) -> RowValues:
        """Rewards of a step."""

    @abc.abstractmethod
    def draw_start(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws the offsets of the model's own positions and velocities at the start."""

    @ft.cached_property
    def simulations(self) -> MujocoRows:
        """The simulator of the rows, made at its first use and not pickled with the problem."""
        return MujocoRows(load_model(self.model_file), self.num_threads, self.carried)

    @ft.cached_property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of observations, measured once, by random play."""
        return self._random_rollout()

    @ft.cached_property
    def seconds(self) -> float:
        """The simulated time of a step."""
        return self.simulations.model.opt.timestep * self.frame_skip

    def __getstate__(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def init_params(self, *, key):
        num_observations = self.observe(self._start(np.zeros(1, np.uint64))).shape[1]
        return self.policy.init_params(num_observations, self.simulations.model.nu, key=key)

    def init_state(self, params, *, seeds):
        return self._start(seeds)

    def step(self, params, state, t, *, seeds):
        after, rewards = self.take(state, self.act(params, state))
        return after, -rewards

    def act(self, params: HostParams, state: MujocoState) -> Actions:
        """Actions of the policy in each row's state, by each row's parameters."""
        observations = self.observe(state)
        if self.normalize_over:
            observations = self.normalization.apply(observations)
        actions = self.policy(params, observations)
        if self.clip_actions:
            low, high = self.simulations.model.actuator_ctrlrange.T
            actions = np.minimum(np.maximum(actions, low), high)
        return actions

    def take(self, state: MujocoState, actions: Actions) -> tuple[MujocoState, RowValues]:
        """The states that actions lead to, and their rewards."""
        found = self.simulations.advance(state["simulation"], actions, self.frame_skip)
        after = {"simulation": found.rows, **found.carried}
        rewards = self.reward(state, actions, after)
        if found.lost is not None:
            rewards[found.lost] = np.nan
        return after, rewards

    def positions(self, state: MujocoState) -> Float[np.ndarray, "rows positions"]:
        """The generalized positions, `qpos`."""
        return state["simulation"][:, self.simulations.positions]

    def velocities(self, state: MujocoState) -> Float[np.ndarray, "rows velocities"]:
        """The generalized velocities, `qvel`."""
        return state["simulation"][:, self.simulations.velocities]

    def forward_velocity(self, before: MujocoState, after: MujocoState) -> RowValues:
        """Velocity of the body along $x$, the first of its positions."""
        x = self.simulations.positions.start
        return (after["simulation"][:, x] - before["simulation"][:, x]) / self.seconds

    def render(
        self,
        params: Params,
        *,
        seed: int,
        num_steps: int,
        every: int,
        size: tuple[int, int] = (320, 240),
    ) -> list[UInt8[np.ndarray, "height width 3"]]:
        """Pictures of an episode, by a camera that follows the torso.

        **Arguments:**

        - `params`: the parameters, without an axis of rows.
        - `seed`: what the start of the episode is drawn with.
        - `num_steps`: how much to show of the episode, which may end before.
        - `every`: steps from one picture to the next; the first one shows the start.
        - `size`: width and height of the pictures, in pixels.

        **Raises:** `RuntimeError` where nothing can be drawn.
        """
        check_integer("every", every)
        row = jax.tree.map(lambda x: np.asarray(x)[np.newaxis], params)
        state, frames = self._start(np.array([seed], np.uint64)), []
        for t in range(min(num_steps, self.horizon) + 1):
            if t % every == 0:
                frames.append(self.simulations.data_of(state["simulation"][0]))
            if self._is_done(state)[0]:
                break
            state, _ = self.take(state, self.act(row, state))
        return draw(self.simulations.model, frames, self.view, size)

    def _start(self, seeds: np.ndarray) -> MujocoState:
        model = self.simulations.model
        drawn = [self.draw_start(np.random.default_rng(seed)) for seed in seeds.tolist()]
        positions, velocities = (np.stack(values) for values in zip(*drawn, strict=True))
        rows, carried = self.simulations.begin(model.qpos0 + positions, velocities)
        return {"simulation": rows, **carried}

    def _is_done(self, state: MujocoState) -> np.ndarray:
        is_done = self.episodes.is_done
        return np.zeros(len(state["simulation"]), bool) if is_done is None else is_done(state)

    def _random_rollout(self) -> Normalization:
        """Several episodes side by side, the same for every instance and every process."""
        num_rollouts = min(_MAX_ROLLOUTS, self.normalize_over)
        generator = np.random.default_rng(0)
        low, high = self.simulations.model.actuator_ctrlrange.T
        seeds, age = np.arange(num_rollouts, dtype=np.uint64), np.zeros(num_rollouts, int)
        state, seen = self._start(seeds), []
        for _ in range(-(-self.normalize_over // num_rollouts)):
            state, _ = self.take(state, generator.uniform(low, high, (num_rollouts, len(low))))
            seen.append(self.observe(state))
            age += 1
            done = np.flatnonzero(self._is_done(state) | (age == self.horizon))
            if done.size:
                seeds[done] += num_rollouts
                age[done] = 0
                for old, new in zip(state.values(), self._start(seeds[done]).values(), strict=True):
                    old[done] = new
        return measure(np.concatenate(seen)[: self.normalize_over])
