from .base import AbstractEstimator as AbstractEstimator
from .base import Estimate as Estimate
