from .base import AbstractEngine as AbstractEngine
from .base import Trajectories as Trajectories
from .host import HostEngine as HostEngine
from .joint import JointEngine as JointEngine
from .local import LocalEngine as LocalEngine
from .ray import RayEngine as RayEngine
from .wrap import AnyEngine as AnyEngine
from .wrap import as_engine as as_engine
