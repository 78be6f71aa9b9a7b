"""Optimizers that are learned, and the training runs that they are learned from."""

from .character_lm import CharacterLM as CharacterLM
from .classifier import classifier as classifier
from .cnn import CNN as CNN
from .factored_mlp import FactoredMLP as FactoredMLP
from .frozen import Frozen as Frozen
from .image_task import image_task as image_task
from .learned_adam import LearnedAdam as LearnedAdam
from .learned_sgd import LearnedSGD as LearnedSGD
from .lengths import AbstractLengths as AbstractLengths
from .lengths import Fixed as Fixed
from .lengths import Lengthening as Lengthening
from .lengths import LogUniform as LogUniform
from .mlp import MLP as MLP
from .mlp_optimizer import MLPOptimizer as MLPOptimizer
from .network import AbstractNetwork as AbstractNetwork
from .network import Tensor as Tensor
from .optimizer import AbstractLearnedOptimizer as AbstractLearnedOptimizer
from .optimizer_training import OptimizerTraining as OptimizerTraining
from .task import Task as Task
from .task_family import TaskFamily as TaskFamily
from .text_task import text_task as text_task
