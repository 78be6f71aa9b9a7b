"""Published experiments, ready to be run again: `unspool reproduce`."""

from .base import AbstractExperiment as AbstractExperiment
from .base import Entry as Entry
from .base import EvaluationPlan as EvaluationPlan
from .base import Optimizer as Optimizer
from .influence_balancing import InfluenceBalancingExperiment as InfluenceBalancingExperiment
from .lorenz import LorenzExperiment as LorenzExperiment
from .lynx_hare import LynxHareExperiment as LynxHareExperiment
from .runner import ExperimentError as ExperimentError
from .runner import Progress as Progress
from .runner import reproduce as reproduce
from .toy_regression import ToyRegressionExperiment as ToyRegressionExperiment
