"""An environment of Gymnasium, without which tests are skipped, and a plain loop to play it."""

import jax
import numpy as np
import pytest

import unspool
from unspool._random import Purpose, stream
from unspool.problems.control import GymnasiumProblem

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces


class Walk(gymnasium.Env):
    """Three to nine steps, drawn at the reset; rewards that tell every step from every other."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.t = self.np_random.integers(3, 10), 0
        self.x = self.np_random.normal()
        return self._look(), {}

    def step(self, action):
        self.t += 1
        self.x = 0.9 * self.x + action[0] + 0.1 * self.np_random.normal()
        return self._look(), self.x + 10.0**-self.t, bool(self.t == self.length), False, {}

    def _look(self):
        return np.array([1.0, self.x])


gymnasium.register("unspool/Walk-v0", entry_point=Walk)


def episode_keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def environment_seeds(keys):
    """What an environment is reset with for an episode of each key."""
    words = np.array(jax.vmap(lambda key: jax.random.key_data(stream(key, Purpose.START)))(keys))
    return [int(seed) % 2**31 for seed in words.view(np.uint64)[:, 0]]


def plain_losses(id, seed, act, horizon, **options):
    """What an episode loses step by step, from a loop as anyone would write it."""
    environment = gymnasium.make(id, **options)
    observation, _ = environment.reset(seed=seed)
    losses = np.zeros(horizon)
    for t in range(horizon):
        observation, reward, terminated, truncated, _ = environment.step(act(observation))
        losses[t] = -reward
        if terminated or truncated:
            break
    return losses


def running_totals(problem, params, keys, windows):
    """The total losses of episodes after each window."""
    engine = unspool.HostEngine(problem)
    unroll = jax.jit(engine.unroll, static_argnums=2)
    trajectories, totals = engine.start(params, keys), [np.zeros(len(keys))]
    for num_steps in windows:
        trajectories, losses = unroll(params, trajectories, num_steps)
        totals.append(totals[-1] + np.array(losses[0]))
    return np.array(totals[1:]).T, np.array(trajectories.arms.done[0]), engine


WALK = np.array([[0.1, -0.4]], np.float32)


def walk(name, **fields):
    return GymnasiumProblem(f"unspool/{name}-v0", horizon=12, **fields)
