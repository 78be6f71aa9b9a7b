"""Training runs whose hyperparameters and schedules are tuned."""

from .data import Data as Data
from .families import AbstractSchedule as AbstractSchedule
from .families import Constant as Constant
from .families import Cosine as Cosine
from .families import InverseTime as InverseTime
from .families import Linear as Linear
from .families import Piecewise as Piecewise
from .families import Spline as Spline
from .learning_curve import LearningCurve as LearningCurve
from .learning_curve import learning_curve as learning_curve
from .model import Model as Model
from .model_training import ModelTraining as ModelTraining
from .objectives import AbstractObjective as AbstractObjective
from .objectives import Clipped as Clipped
from .objectives import Final as Final
from .objectives import Logarithm as Logarithm
from .objectives import Normalized as Normalized
from .objectives import TrainLoss as TrainLoss
from .objectives import ValidAccuracy as ValidAccuracy
from .objectives import ValidLoss as ValidLoss
from .space import PerGroup as PerGroup
from .space import PerTensor as PerTensor
from .transforms import AbstractTransform as AbstractTransform
from .transforms import Identity as Identity
from .transforms import Log as Log
from .transforms import Logit as Logit
