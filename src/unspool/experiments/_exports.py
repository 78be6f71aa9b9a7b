"""The exports of `unspool.experiments`. They are imported when the first of it is asked for."""

from .base import AbstractEntry as AbstractEntry
from .base import AbstractExperiment as AbstractExperiment
from .base import Entry as Entry
from .base import EvaluationPlan as EvaluationPlan
from .base import Measurement as Measurement
from .base import Optimizer as Optimizer
from .base import Picture as Picture
from .half_cheetah import HalfCheetahExperiment as HalfCheetahExperiment
from .hopper import HopperExperiment as HopperExperiment
from .influence_balancing import InfluenceBalancingExperiment as InfluenceBalancingExperiment
from .lopt_cifar10 import LoptCifar10Experiment as LoptCifar10Experiment
from .lopt_fashion_mnist import LoptFashionMnistExperiment as LoptFashionMnistExperiment
from .lorenz import LorenzExperiment as LorenzExperiment
from .lynx_hare import LynxHareExperiment as LynxHareExperiment
from .many_hyperparameters import ManyHyperparametersExperiment as ManyHyperparametersExperiment
from .ridge import RidgeExperiment as RidgeExperiment
from .runner import ExperimentError as ExperimentError
from .runner import Progress as Progress
from .runner import reproduce as reproduce
from .schedule_accuracy import ScheduleAccuracyExperiment as ScheduleAccuracyExperiment
from .schedule_train_loss import ScheduleTrainLossExperiment as ScheduleTrainLossExperiment
from .swimmer import SwimmerExperiment as SwimmerExperiment
from .toy_regression import ToyRegressionExperiment as ToyRegressionExperiment
from .unroll_variance import UnrollVarianceExperiment as UnrollVarianceExperiment
