"""A running animal in a plane."""

import dataclasses
from typing import ClassVar

import numpy as np

from .mujoco_problem import AbstractMujocoProblem


@dataclasses.dataclass(frozen=True)
class HalfCheetah(AbstractMujocoProblem):
    r"""Half of a cheetah, with one front leg and one hind leg, that is to run along $x$.

    $$ r = \frac{x_{t+1} - x_t}{0.05} - 0.1 \lVert a \rVert^2 $$

    Six motors, 17 observations, as `HalfCheetah-v5` of Gymnasium. Episodes never end early: it may
    run on its back.

    **Arguments:**

    - `horizon`: steps of an episode.
    - `policy`: what makes actions of observations.
    - `clip_actions`: whether the policy's actions are clipped to the motors' range, instead of by
      the motors alone; what they cost differs.
    - `normalize_over`: steps of random play, the same for all, whose observations are brought to
      a mean of 0 and a standard deviation of 1; with 0 they stay as they are.
    - `num_threads`: how many simulate; by default as many as the process may use.

    **Raises:** `ImportError` without MuJoCo or Gymnasium, once it is used.

    Source: Wawrzyński, A cat-like robot real-time learning to run, 2009; Towers et al., Gymnasium,
    2024, arXiv:2407.17032.
    """

    model_file: ClassVar[str] = "half_cheetah.xml"
    frame_skip: ClassVar[int] = 5

    def draw_start(self, generator):
        model = self.simulations.model
        return generator.uniform(-0.1, 0.1, model.nq), 0.1 * generator.standard_normal(model.nv)

    def observe(self, state):
        return np.concatenate((self.positions(state)[:, 1:], self.velocities(state)), 1)

    def reward(self, before, actions, after):
        cost = 0.1 * np.square(actions).sum(1)
        return self.forward_velocity(before, after) - cost
