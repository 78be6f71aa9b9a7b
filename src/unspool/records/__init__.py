"""The files of runs and experiments: one type for each, for who writes them and who reads them."""

from .chart import Chart as Chart
from .chart import PictureFile as PictureFile
from .chart import Series as Series
from .chart import Table as Table
from .config import Config as Config
from .config import EstimatorSetting as EstimatorSetting
from .config import Setting as Setting
from .evaluation import EvaluationLine as EvaluationLine
from .experiment import Claim as Claim
from .experiment import Details as Details
from .experiment import Expectation as Expectation
from .experiment import Experiment as Experiment
from .experiment import Marker as Marker
from .experiment import Surface as Surface
from .files import RunError as RunError
from .measured import Measured as Measured
from .metrics import MetricsLine as MetricsLine
from .run import LoggedEvaluations as LoggedEvaluations
from .run import LoggedMetrics as LoggedMetrics
from .run import LoggedRun as LoggedRun
from .run import read_run as read_run
from .status import Status as Status
from .study import Study as Study
from .study import read_studies as read_studies
