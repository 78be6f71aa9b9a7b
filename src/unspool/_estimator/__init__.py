from .base import AbstractEstimator as AbstractEstimator
from .estimate import Estimate as Estimate
