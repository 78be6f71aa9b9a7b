"""A learning rate and its decay, tuned for an objective."""

from .schedule_accuracy import ScheduleAccuracyExperiment as ScheduleAccuracyExperiment
from .schedule_train_loss import ScheduleTrainLossExperiment as ScheduleTrainLossExperiment
