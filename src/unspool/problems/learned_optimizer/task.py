"""An inner task: a model, and the data it is trained and judged on."""

import equinox as eqx

from ..schedules import Data, Model


class Task(eqx.Module):
    """A model and its data, for a learned optimizer to train.

    **Arguments:**

    - `model`: weights at the start and losses. It has no hyperparameters of its own.
    - `data`: examples to train on and to hold out.
    - `name`: what it is called where there are several.

    **Raises:** `ValueError` for a model with hyperparameters, which are `ModelTraining`'s matter.
    """

    model: Model
    data: Data
    name: str = eqx.field(static=True, default="")

    def __check_init__(self):
        if self.model.space:
            names = ", ".join(sorted(self.model.space))
            raise ValueError(f"the model of a task must have an empty space, got {names}")
