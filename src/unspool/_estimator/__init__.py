from .base import AbstractEstimator as AbstractEstimator
from .tally import Estimate as Estimate
