"""Linear policies that learn to move bodies in MuJoCo."""

from .half_cheetah import HalfCheetahExperiment as HalfCheetahExperiment
from .hopper import HopperExperiment as HopperExperiment
from .swimmer import SwimmerExperiment as SwimmerExperiment
