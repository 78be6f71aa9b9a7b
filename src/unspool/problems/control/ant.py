"""Four legs that walk in space."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..._episodes import Episodes
from .mujoco_problem import AbstractMujocoProblem

_TORSO = 1


@dataclasses.dataclass(frozen=True)
class Ant(AbstractMujocoProblem):
    r"""A torso on four legs that is to walk along $x$ without jumping or sinking.

    $$ r = \frac{x_{t+1} - x_t}{0.05} + b\, [\text{healthy}] - \tfrac12 \lVert a \rVert^2
       - 5 \cdot 10^{-4} \lVert f \rVert^2 $$

    Here $f$ are the contact forces on all bodies, clipped to $[-1, 1]$, and $x$ is where the torso
    was last seen by the simulation, one of its steps ago. Eight motors, 105 observations of which
    78 are contact forces, as `Ant-v5` of Gymnasium. An episode ends when it is no longer healthy:
    at a height from 0.2 to 1, and finite.

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

    Source: Schulman, Moritz, Levine, Jordan and Abbeel, High-dimensional continuous control using
    generalized advantage estimation, 2015, arXiv:1506.02438; Towers et al., Gymnasium, 2024,
    arXiv:2407.17032.
    """

    healthy_reward: float = 1.0

    model_file: ClassVar[str] = "ant.xml"
    frame_skip: ClassVar[int] = 5
    carried: ClassVar[tuple[str, ...]] = ("cfrc_ext", "xpos")

    def draw_start(self, generator):
        model = self.simulations.model
        return generator.uniform(-0.1, 0.1, model.nq), 0.1 * generator.standard_normal(model.nv)

    def observe(self, state):
        forces = _contact_forces(state)[:, 1:].reshape(len(state["cfrc_ext"]), -1)
        return np.concatenate((self.positions(state)[:, 2:], self.velocities(state), forces), 1)

    def reward(self, before, actions, after):
        velocity = (after["xpos"] - before["xpos"])[:, _TORSO, 0] / self.seconds
        forces = np.square(_contact_forces(after)).reshape(len(actions), -1)
        cost = 0.5 * np.square(actions).sum(1) + 5e-4 * forces.sum(1)
        bonus = self.healthy_reward * self.is_healthy(after)
        return velocity + bonus - cost

    @property
    def episodes(self):
        return Episodes(is_done=lambda state: ~self.is_healthy(state))

    def is_healthy(self, state):
        positions, velocities = self.positions(state), self.velocities(state)
        finite = np.isfinite(positions).all(1) & np.isfinite(velocities).all(1)
        return finite & (positions[:, 2] >= 0.2) & (positions[:, 2] <= 1.0)


def _contact_forces(state):
    return np.minimum(np.maximum(state["cfrc_ext"], -1.0), 1.0)
