"""Export of tuned hyperparameters and learned optimizers, for use without this library."""

from .hyperparameters import load_schedules as load_schedules
from .hyperparameters import optimizer as optimizer
from .hyperparameters import save as save
from .hyperparameters import schedules as schedules
from .learned_optimizer import as_optax as as_optax
from .optimizer_file import SavedOptimizer as SavedOptimizer
from .optimizer_file import load_optimizer as load_optimizer
from .optimizer_file import read_optimizer as read_optimizer
from .optimizer_file import save_optimizer as save_optimizer
from .training_run import ExportedRun as ExportedRun
from .training_run import save_run as save_run
