"""A leg that hops in a plane."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..._episodes import Episodes
from .mujoco_problem import AbstractMujocoProblem


@dataclasses.dataclass(frozen=True)
class Hopper(AbstractMujocoProblem):
    r"""A torso on one leg that is to hop along $x$ without falling.

    $$ r = \frac{x_{t+1} - x_t}{0.008} + b\, [\text{healthy}] - 10^{-3} \lVert a \rVert^2 $$

    Three motors, eleven observations, as `Hopper-v5` of Gymnasium. An episode ends when it is no
    longer healthy: upright to 0.2 radians, above a height of 0.7, and all else within 100.

    **Arguments:**

    - `horizon`: steps of an episode at most.
    - `policy`: what makes actions of observations.
    - `clip_actions`: whether the policy's actions are clipped to the motors' range, instead of by
      the motors alone; what they cost differs.
    - `normalize_over`: steps of random play, the same for all, whose observations are brought to
      a mean of 0 and a standard deviation of 1; with 0 they stay as they are.
    - `num_threads`: how many simulate; by default as many as the process may use.
    - `healthy_reward`: the bonus $b$ for a step that ends healthy. With 0 standing still is worth
      nothing, which keeps training from being content with it.

    **Raises:** `ImportError` without MuJoCo or Gymnasium, once it is used.

    Source: Erez, Tassa and Todorov, Infinite-horizon model predictive control for periodic tasks
    with contacts, 2011; Towers et al., Gymnasium, 2024, arXiv:2407.17032.
    """

    healthy_reward: float = 1.0

    model_file: ClassVar[str] = "hopper.xml"
    frame_skip: ClassVar[int] = 4

    def draw_start(self, generator):
        model = self.simulations.model
        return generator.uniform(-5e-3, 5e-3, model.nq), generator.uniform(-5e-3, 5e-3, model.nv)

    def observe(self, state):
        velocities = np.minimum(np.maximum(self.velocities(state), -10.0), 10.0)
        return np.concatenate((self.positions(state)[:, 1:], velocities), 1)

    def reward(self, before, actions, after):
        cost = 1e-3 * np.square(actions).sum(1)
        bonus = self.healthy_reward * self.is_healthy(after)
        return self.forward_velocity(before, after) + bonus - cost

    @property
    def episodes(self):
        return Episodes(is_done=lambda state: ~self.is_healthy(state))

    def is_healthy(self, state):
        positions, velocities = self.positions(state), self.velocities(state)
        upright = (positions[:, 1] > 0.7) & (np.abs(positions[:, 2]) < 0.2)
        bounded = (np.abs(positions[:, 2:]) < 100).all(1) & (np.abs(velocities) < 100).all(1)
        return upright & bounded
