from .base import AbstractEngine as AbstractEngine
from .base import Trajectories as Trajectories
from .joint import JointEngine as JointEngine
from .local import LocalEngine as LocalEngine
from .local import as_engine as as_engine
