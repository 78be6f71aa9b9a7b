"""Learned optimizers, meta-trained by several estimators."""

from .lopt_cifar10 import LoptCifar10Experiment as LoptCifar10Experiment
from .lopt_fashion_mnist import LoptFashionMnistExperiment as LoptFashionMnistExperiment
