"""A snake of three links in a viscous fluid."""

import dataclasses
from typing import ClassVar

import numpy as np

from .mujoco_problem import AbstractMujocoProblem
from .pictures import View


@dataclasses.dataclass(frozen=True)
class Swimmer(AbstractMujocoProblem):
    r"""A snake of three links, in a plane of viscous fluid, that is to swim along $x$.

    $$ r = \frac{x_{t+1} - x_t}{0.04} - 10^{-4} \lVert a \rVert^2 $$

    Two motors, eight observations, as `Swimmer-v5` of Gymnasium. Episodes never end early. A linear
    policy of 16 weights, which start at zero, is enough for returns of 350.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `policy`: what makes actions of observations.
    - `clip_actions`: whether the policy's actions are clipped to the motors' range, instead of by
      the motors alone; what they cost differs.
    - `normalize_over`: steps of random play, the same for all, whose observations are brought to
      a mean of 0 and a standard deviation of 1; with 0 they stay as they are.
    - `num_threads`: how many simulate; by default as many as the process may use.

    **Raises:** `ImportError` without MuJoCo or Gymnasium, once it is used.

    Source: Coulom, Reinforcement learning using neural networks, with applications to motor
    control, 2002; Towers et al., Gymnasium, 2024, arXiv:2407.17032.
    """

    model_file: ClassVar[str] = "swimmer.xml"
    frame_skip: ClassVar[int] = 4
    view: ClassVar[View] = View(elevation=-60.0)

    def draw_start(self, generator):
        model = self.simulations.model
        return generator.uniform(-0.1, 0.1, model.nq), generator.uniform(-0.1, 0.1, model.nv)

    def observe(self, state):
        return np.concatenate((self.positions(state)[:, 2:], self.velocities(state)), 1)

    def reward(self, before, actions, after):
        cost = 1e-4 * np.square(actions).sum(1)
        return self.forward_velocity(before, after) - cost
