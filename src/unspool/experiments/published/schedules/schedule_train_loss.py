"""A learning rate and its decay, tuned for fast training."""

from dataclasses import dataclass
from typing import ClassVar

from ....problems.schedules import AbstractObjective, TrainLoss
from ....records.chart import Scale
from .decay_experiment import AbstractDecayExperiment


@dataclass(frozen=True)
class ScheduleTrainLossExperiment(AbstractDecayExperiment):
    """A learning rate and its decay, tuned for the mean training loss of a network.

    The experiment of Vicol et al. (2021), arXiv 2112.13835, smaller: unbiased estimators reach the
    good region, truncated ones end at a decay that is too large.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of every method.
    - `images`: `digits`, which scikit-learn brings, `mnist` or `fashion-mnist`.
    - `data_dir`: where files of images are looked for first.
    - `hidden`: units of each hidden layer.
    - `batch_size`: images in a batch.
    - `horizon`: steps of a training run.
    - `num_workers`: antithetic pairs.
    """

    name: ClassVar[str] = "schedule-train-loss"
    title: ClassVar[str] = "A learning rate and its decay, tuned for the training loss"
    objective: ClassVar[AbstractObjective] = TrainLoss()
    objective_text: ClassVar[str] = (
        "The objective is the mean training loss, on a fresh batch after every step."
    )
    metric: ClassVar[str] = "mean training loss"
    metric_scale: ClassVar[Scale] = "log"
