"""The exports of `unspool.experiments`. They are imported when the first of it is asked for."""

from .base import AbstractEntry as AbstractEntry
from .base import AbstractExperiment as AbstractExperiment
from .base import Entry as Entry
from .base import EvaluationPlan as EvaluationPlan
from .base import Measurement as Measurement
from .base import Optimizer as Optimizer
from .base import Picture as Picture
from .beyond.lorenz import BeyondLorenzExperiment as BeyondLorenzExperiment
from .beyond.toy_regression import (
    BeyondToyRegressionExperiment as BeyondToyRegressionExperiment,
)
from .published.control.half_cheetah import HalfCheetahExperiment as HalfCheetahExperiment
from .published.control.hopper import HopperExperiment as HopperExperiment
from .published.control.swimmer import SwimmerExperiment as SwimmerExperiment
from .published.influence_balancing import (
    InfluenceBalancingExperiment as InfluenceBalancingExperiment,
)
from .published.lorenz import LorenzExperiment as LorenzExperiment
from .published.lynx_hare import LynxHareExperiment as LynxHareExperiment
from .published.meta_training.lopt_cifar10 import LoptCifar10Experiment as LoptCifar10Experiment
from .published.meta_training.lopt_fashion_mnist import (
    LoptFashionMnistExperiment as LoptFashionMnistExperiment,
)
from .published.ridge import RidgeExperiment as RidgeExperiment
from .published.schedules.schedule_accuracy import (
    ScheduleAccuracyExperiment as ScheduleAccuracyExperiment,
)
from .published.schedules.schedule_train_loss import (
    ScheduleTrainLossExperiment as ScheduleTrainLossExperiment,
)
from .published.search.many_hyperparameters import (
    ManyHyperparametersExperiment as ManyHyperparametersExperiment,
)
from .published.toy_regression import ToyRegressionExperiment as ToyRegressionExperiment
from .published.unroll_variance import UnrollVarianceExperiment as UnrollVarianceExperiment
from .runner import ExperimentError as ExperimentError
from .runner import Progress as Progress
from .runner import reproduce as reproduce
