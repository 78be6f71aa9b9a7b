"""Two legs that walk in a plane."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..._episodes import Episodes
from .mujoco_problem import AbstractMujocoProblem


@dataclasses.dataclass(frozen=True)
class Walker2d(AbstractMujocoProblem):
    r"""A torso on two legs that is to walk along $x$ without falling.

    $$ r = \frac{x_{t+1} - x_t}{0.008} + b\, [\text{healthy}] - 10^{-3} \lVert a \rVert^2 $$

    Six motors, 17 observations, as `Walker2d-v5` of Gymnasium. An episode ends when it is no longer
    healthy: upright to 1 radian, at a height from 0.8 to 2.

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

    model_file: ClassVar[str] = "walker2d_v5.xml"
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
        height, angle = self.positions(state)[:, 1:3].T
        return (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)
