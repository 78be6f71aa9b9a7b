"""Environments whose physics is JAX: whole trainings are one compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..._episodes import Episodes
from ..._problem import AbstractProblem
from .._check import check_integer
from .linear_policy import LinearPolicy
from .policy import AbstractPolicy


class JaxEnvironment(AbstractProblem):
    r"""A policy in an environment of Brax, MuJoCo Playground, or any other with their two methods.

    $$ e_0 = \mathrm{reset}(\mathrm{key}), \quad
       e_{t+1} = \mathrm{step}\big(e_t, \mathrm{policy}(\theta, e_t\mathrm{.obs})\big), \quad
       \ell_t = -e_{t+1}\mathrm{.reward} $$

    An episode is over once the environment says `done`. The reward of that step counts, and what
    an environment that resets itself does afterwards does not. The objective is the expected total
    loss of an episode: minus the return.

    **Arguments:**

    - `environment`: has `reset(key)`, which returns a state with `obs`, `reward` and `done`,
      `step(state, action)`, which returns the next, and `action_size`. Of a dictionary of
      observations the policy sees the one called "state".
    - `horizon`: steps of an episode at most.
    - `policy`: what makes actions of observations.
    - `clip_actions`: whether to clip actions to [-1, 1], the bounds that these environments use.

    **Raises:** `ValueError` for an environment that lacks one of these.
    """

    environment: Any
    horizon: int = 1000
    policy: AbstractPolicy = LinearPolicy()
    clip_actions: bool = False

    def __check_init__(self):
        check_integer("horizon", self.horizon)
        missing = [x for x in ("reset", "step", "action_size") if not hasattr(self.environment, x)]
        if missing:
            raise ValueError(
                f"environment must have reset, step and action_size, got {self.environment!r}, "
                f"which has no {', '.join(missing)}"
            )

    def init_params(self, *, key):
        state = jax.eval_shape(self.environment.reset, key)
        size = jax.eval_shape(_observe, state).size
        return self.policy.init_params(size, self.environment.action_size, key=key)

    def init_state(self, params, *, key):
        state = self.environment.reset(key)
        action = jnp.zeros(self.environment.action_size)
        stepped = jax.eval_shape(self.environment.step, state, action)
        # Some begin with the integer 0 where a step puts a float.
        return jax.tree.map(_as_wide, state, stepped)

    def step(self, params, state, t, *, key):
        action = self.policy(params, _observe(state))
        if self.clip_actions:
            action = jnp.clip(action, -1.0, 1.0)
        stepped = self.environment.step(state, action)
        stepped = jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), state, stepped)
        return stepped, -jnp.reshape(stepped.reward, ())

    @property
    def episodes(self):
        return Episodes(is_done=lambda state: jnp.reshape(state.done, ()) > 0)


def _observe(state: Any) -> jax.Array:
    """The observation of the policy, as one vector."""
    observation = state.obs
    if isinstance(observation, Mapping):
        if "state" not in observation:
            raise ValueError(
                'of several observations the policy sees the one called "state"; there are '
                + ", ".join(observation)
            )
        observation = observation["state"]
    return jnp.ravel(observation)


def _as_wide(first: Any, stepped: Any) -> jax.Array:
    """A leaf of the first state in a type that holds that leaf of the next ones too."""
    first = jnp.asarray(first)
    return (
        first
        if first.dtype == stepped.dtype
        else first.astype(jnp.promote_types(first.dtype, stepped.dtype))
    )
