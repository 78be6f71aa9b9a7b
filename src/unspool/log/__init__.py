"""Loggers: TensorBoard, Weights & Biases, MLflow, and functions of your own."""

from .._logger import AbstractLogger as AbstractLogger
from .callback import Callback as Callback
from .mlflow import MLflow as MLflow
from .tensorboard import TensorBoard as TensorBoard
from .wandb import WandB as WandB
