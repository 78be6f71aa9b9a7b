"""The interface of policies: a function of parameters and an observation."""

import abc
from typing import Any

import equinox as eqx

from ..._custom_types import Params, RandomKey


class AbstractPolicy(eqx.Module):
    """A function from observations to actions, whose parameters are a tree of their own.

    Instances are settings: they are compared and hashed by their fields.
    """

    @abc.abstractmethod
    def init_params(self, num_observations: int, num_actions: int, *, key: RandomKey) -> Params:
        """The parameters that training starts from."""

    @abc.abstractmethod
    def __call__(self, params: Params, observation: Any) -> Any:
        """The action, in NumPy or in JAX: whichever the observation is of.

        Observation and action are the last axis. What axes lead, lead every leaf of the parameters
        as well: each row has its own. A row's action must not depend on how many rows there are.
        """
