"""Control problems and their policies."""

from .ant import Ant as Ant
from .brax_environment import BraxEnvironment as BraxEnvironment
from .gymnasium_problem import GymnasiumProblem as GymnasiumProblem
from .half_cheetah import HalfCheetah as HalfCheetah
from .hopper import Hopper as Hopper
from .jax_environment import JaxEnvironment as JaxEnvironment
from .linear_policy import LinearPolicy as LinearPolicy
from .mlp_policy import MLPPolicy as MLPPolicy
from .mujoco_problem import AbstractMujocoProblem as AbstractMujocoProblem
from .policy import AbstractPolicy as AbstractPolicy
from .swimmer import Swimmer as Swimmer
from .walker2d import Walker2d as Walker2d
