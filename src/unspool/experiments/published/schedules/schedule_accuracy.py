"""A learning rate and its decay, tuned for an accuracy, which has no derivative."""

from dataclasses import dataclass
from typing import ClassVar

from ....problems.schedules import AbstractObjective, ValidAccuracy
from ....records.chart import Scale
from .decay_experiment import AbstractDecayExperiment


@dataclass(frozen=True)
class ScheduleAccuracyExperiment(AbstractDecayExperiment):
    """A learning rate and its decay, tuned for the mean accuracy on images held out.

    The experiment of Vicol et al. (2021), arXiv 2112.13835, smaller. An accuracy has no derivative
    that says anything; evolution strategies need none.

    **Arguments:** as for `schedule-train-loss`.

    - `seeds`: number of seeds.
    - `num_updates`: updates of every method.
    - `images`: `digits`, which scikit-learn brings, `mnist` or `fashion-mnist`.
    - `data_dir`: where files of images are looked for first.
    - `hidden`: units of each hidden layer.
    - `batch_size`: images in a batch.
    - `horizon`: steps of a training run.
    - `num_workers`: antithetic pairs.
    """

    name: ClassVar[str] = "schedule-accuracy"
    title: ClassVar[str] = "A learning rate and its decay, tuned for the accuracy"
    objective: ClassVar[AbstractObjective] = ValidAccuracy()
    objective_text: ClassVar[str] = (
        "The objective is minus the mean accuracy on fresh batches of images held out."
    )
    metric: ClassVar[str] = "minus validation accuracy"
    metric_scale: ClassVar[Scale] = "linear"
