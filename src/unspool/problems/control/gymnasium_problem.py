"""Environments of Gymnasium, controlled by a policy whose weights are the parameters."""

import dataclasses
import functools as ft
from collections.abc import Hashable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

from ..._black_box import AbstractSimulatorProblem
from .._check import check_integer
from .linear_policy import LinearPolicy
from .make_options import Options, freeze_options, thaw_options
from .mujoco_rows import use_headless_rendering
from .normalization import Normalization, measure
from .policy import AbstractPolicy
from .registration import read_registration

_SEEDS = 2**31


class _Simulator:
    """An environment with its last observation."""

    def __init__(self, environment: Any):
        self.environment = environment
        self.observation = np.zeros(0)

    def begin(self, seed: int) -> None:
        observation, _ = self.environment.reset(seed=seed % _SEEDS)
        self._observe(observation)

    def act(self, action: Any) -> tuple[float, bool]:
        observation, reward, terminated, truncated, _ = self.environment.step(action)
        self._observe(observation)
        return float(reward), bool(terminated or truncated)

    def _observe(self, observation: Any) -> None:
        flatten = _gymnasium().spaces.utils.flatten
        flat = flatten(self.environment.observation_space, observation)
        self.observation = np.asarray(flat, float)


@dataclasses.dataclass(frozen=True)
class GymnasiumProblem(AbstractSimulatorProblem):
    r"""A policy in an environment of Gymnasium, or of any package that registers with it.

    $$ a_t = \mathrm{policy}(\theta, o_t), \quad
       (o_{t+1}, r_t) = \mathrm{environment.step}(a_t), \quad \ell_t = -r_t $$

    An episode is over once the environment says terminated or truncated. The reward of that step
    counts, and the environment is not stepped again before its next episode. The objective is the
    expected total loss of an episode: minus the return.

    Observations are flattened: dictionaries and tuples in their order, choices as one of many,
    images as they are, all as floats. Of the policy's outputs, a choice takes the largest, one
    output for each; a bit is on above 0; a box takes them as they are.

    **Arguments:**

    - `id`: the environment, as for `gymnasium.make`; `"module:Name-v0"` imports a module first.
    - `horizon`: steps of an episode at most; by default the environment's own time limit, which
      holds in any case. To lift it, give `max_episode_steps` among the `make_options`.
    - `policy`: what makes actions of observations.
    - `make_options`: further arguments of `gymnasium.make`, as a mapping or as pairs of names and
      values: hashable ones, and lists and dictionaries of such. They are copied.
    - `clip_actions`: whether to clip a box's actions to its bounds.
    - `dead_last_step`: whether the step that reports the end is one too many, which does nothing
      but reset. Its reward does not count then.
    - `normalize_over`: steps of random play, the same for all, whose observations are brought to
      a mean of 0 and a standard deviation of 1; with 0 they stay as they are.

    **Raises:** `ValueError` for an environment that there is not, one without a time limit and
    without a horizon, and spaces that do not fit; `ImportError` without Gymnasium.
    """

    id: str = "CartPole-v1"
    horizon: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    policy: AbstractPolicy = LinearPolicy()
    make_options: Mapping[str, Any] | Options = ()
    clip_actions: bool = False
    dead_last_step: bool = False
    normalize_over: int = 0

    def __post_init__(self):
        check_integer("normalize_over", self.normalize_over, least=0)
        if not isinstance(self.policy, AbstractPolicy):
            raise ValueError(f"policy must be an AbstractPolicy, got {self.policy!r}")
        object.__setattr__(self, "make_options", freeze_options(self.make_options))
        if self.horizon is not None:
            check_integer("horizon", self.horizon)
        elif (limit := self._spaces.limit) is None:
            raise ValueError(f"{self.id} has no time limit of its own: give it a horizon")
        else:
            object.__setattr__(self, "horizon", limit)
        _ = _num_outputs(self._spaces.action, self.id)

    @property
    def _options(self) -> Options:
        return cast(Options, self.make_options)

    @property
    def _spaces(self) -> "_Spaces":
        return _read_spaces(self.version, self.id, self._options)

    @property
    def _normalization(self) -> Normalization:
        return _random_rollout(self.version, self.id, self._options, self.normalize_over)

    @property
    def version(self) -> Hashable:
        """The registration of the environment, with the files that its options name."""
        gymnasium = _gymnasium()
        try:
            return read_registration(gymnasium, self.id, dict(self._options).values())
        except gymnasium.error.Error:
            return None  # Which `make` will say.

    def init_params(self, *, key):
        num_observations = _gymnasium().spaces.utils.flatdim(self._spaces.observation)
        num_outputs = _num_outputs(self._spaces.action, self.id)
        return self.policy.init_params(num_observations, num_outputs, key=key)

    def make(self) -> _Simulator:
        return _Simulator(_make(self.id, self._options))

    def reset(self, simulator: _Simulator, params, *, seed: int) -> None:
        simulator.begin(seed)

    def actions(self, simulators: Sequence[_Simulator], params, t) -> Sequence[Any]:
        observations = np.stack([simulator.observation for simulator in simulators])
        if self.normalize_over:
            observations = self._normalization.apply(observations)
        outputs = np.asarray(self.policy(params, observations))
        space = simulators[0].environment.action_space
        return list(_as_actions(space, outputs, self.clip_actions))

    def step(self, simulator: _Simulator, action) -> tuple[float, bool]:
        reward, done = simulator.act(action)
        return (0.0 if done and self.dead_last_step else -reward), done


class _Spaces(NamedTuple):
    observation: Any
    action: Any
    limit: int | None


def _gymnasium() -> ModuleType:
    use_headless_rendering()
    # Here and not above: who has other problems need not have it.
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(
            "this problem needs Gymnasium, which is not there: pip install 'unspool[control]'"
        ) from error
    return gymnasium


def _make(id: str, options: Options) -> Any:
    gymnasium = _gymnasium()
    # The checker looks at the first steps of every environment, and slows down the others.
    given: dict[str, Any] = {"disable_env_checker": True} | thaw_options(options)
    try:
        return gymnasium.make(id, **given)
    except gymnasium.error.Error as error:
        raise ValueError(f"gymnasium.make({id!r}) failed: {error}") from error


@ft.lru_cache
def _read_spaces(version: Hashable, id: str, options: Options) -> _Spaces:
    environment = _make(id, options)
    limit = environment.spec.max_episode_steps if environment.spec else None
    spaces = _Spaces(environment.observation_space, environment.action_space, limit)
    environment.close()
    if not spaces.observation.is_np_flattenable:
        raise ValueError(
            f"observations must be arrays, numbers, or dictionaries or tuples of these; those of "
            f"{id} are {spaces.observation}"
        )
    return spaces


@ft.lru_cache
def _random_rollout(version: Hashable, id: str, options: Options, count: int) -> Normalization:
    simulator = _Simulator(_make(id, options))
    simulator.environment.action_space.seed(0)
    done, seen = True, []
    for step in range(count):
        if done:
            simulator.begin(seed=step)
        _, done = simulator.act(simulator.environment.action_space.sample())
        seen.append(simulator.observation)
    simulator.environment.close()
    return measure(np.stack(seen))


def _num_outputs(space: Any, id: str) -> int:
    """The number of a policy's outputs that make an action.

    **Raises:** `ValueError` if none do.
    """
    spaces = _gymnasium().spaces
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.MultiBinary) or (
        isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
    ):
        return int(np.prod(space.shape))
    raise ValueError(
        f"actions must be Discrete, MultiDiscrete, MultiBinary or a Box of floats; those of {id} "
        f"are {space}"
    )


def _as_actions(space: Any, outputs: np.ndarray, clip: bool) -> np.ndarray:
    """The actions that rows of outputs stand for."""
    spaces = _gymnasium().spaces
    shape = (len(outputs), *space.shape)
    if isinstance(space, spaces.Discrete):
        return np.argmax(outputs, 1) + space.start
    if isinstance(space, spaces.MultiDiscrete):
        groups = np.split(outputs, np.cumsum(space.nvec.ravel())[:-1], axis=1)
        chosen = np.stack([np.argmax(group, 1) for group in groups], 1).reshape(shape)
        return (chosen + space.start).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return (outputs > 0).reshape(shape).astype(space.dtype)
    actions = outputs.reshape(shape).astype(space.dtype)
    return np.clip(actions, space.low, space.high) if clip else actions
