"""Problems to try estimators on: most with closed-form gradients, some from the literature."""

from .adding_task import AddingTask as AddingTask
from .character_lstm import CharacterLSTM as CharacterLSTM
from .character_net import CharacterNet as CharacterNet
from .copy_task import CopyTask as CopyTask
from .cosine_accumulator import CosineAccumulator as CosineAccumulator
from .cubic import Cubic as Cubic
from .early_end import EarlyEnd as EarlyEnd
from .final_loss import FinalLoss as FinalLoss
from .influence_balancing import InfluenceBalancing as InfluenceBalancing
from .learned_start import LearnedStart as LearnedStart
from .linear_quadratic import LinearQuadratic as LinearQuadratic
from .lorenz import Lorenz as Lorenz
from .lorenz_from_random_starts import LorenzFromRandomStarts as LorenzFromRandomStarts
from .lotka_volterra import lotka_volterra as lotka_volterra
from .lotka_volterra import lynx_hare as lynx_hare
from .random_length import RandomLength as RandomLength
from .random_net import RandomNet as RandomNet
from .recurrent_teacher import RecurrentTeacher as RecurrentTeacher
from .series_fit import SeriesFit as SeriesFit
from .toy_regression import ToyRegression as ToyRegression
