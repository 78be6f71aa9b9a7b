"""Twenty-nine hyperparameters of one small network, tuned online and searched for."""

from .many_hyperparameters import ManyHyperparametersExperiment as ManyHyperparametersExperiment
from .search import Search as Search
from .start_in_box import StartInBox as StartInBox
from .strategies import TPE as TPE
from .strategies import Hyperband as Hyperband
from .strategies import RandomSearch as RandomSearch
