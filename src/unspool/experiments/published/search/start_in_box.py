"""Tuning that starts anywhere in the box that searches draw from."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ...._custom_types import Params
from ...._random import seeded_key
from ...._wrapper import AbstractWrapper
from ....problems.schedules import AbstractSchedule, Constant, ModelTraining
from ....problems.schedules.transforms import AbstractTransform


class StartInBox(AbstractWrapper):
    """The training of a model, whose tuning starts at a point drawn uniformly from a box.

    The box is made of the bounds of all hyperparameters, in the coordinates that are tuned: a rate
    between bounds is uniform in its logarithm. Nothing leaves it, since values are clipped to
    their bounds.

    **Arguments:** `training`, whose hyperparameters are all `Constant` and bounded on both sides.

    **Raises:** `ValueError` for a hyperparameter that is not.
    """

    training: ModelTraining

    def __init__(self, training: ModelTraining):
        self.training = training
        for name in training.space | training.model.space:
            _transform(training, name)

    @property
    def inner(self) -> ModelTraining:
        return self.training

    @property
    def box(self) -> tuple[Params, Params]:
        """The lowest and the highest coordinates, both in the tree of the parameters."""
        middle = self.training.init_params(key=seeded_key(0))
        ends = []
        for end in ("low", "high"):
            corner = {}
            for name, coordinates in middle.items():
                transform = _transform(self.training, name)
                value = transform.coordinate(end, getattr(transform, end))
                corner[name] = jnp.full_like(coordinates, value)
            ends.append(corner)
        return ends[0], ends[1]

    def init_params(self, *, key):
        low, unravel = ravel_pytree(self.box[0])
        high, _ = ravel_pytree(self.box[1])
        return unravel(jax.random.uniform(key, low.shape, low.dtype, low, high))


def _transform(training: ModelTraining, name: str) -> AbstractTransform:
    """The transform of a hyperparameter, which has bounds."""
    entry = (training.space | training.model.space)[name]
    schedule = entry if isinstance(entry, AbstractSchedule) else entry.schedule
    if not isinstance(schedule, Constant):
        raise ValueError(f"{name} must be a Constant to lie in a box, got {schedule!r}")
    transform = schedule.transform
    if transform.low is None or transform.high is None:
        raise ValueError(
            f"{name} must have a transform with low and high to lie in a box, got {transform!r}"
        )
    return transform
