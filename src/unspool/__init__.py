from ._engine import LocalEngine as LocalEngine
from ._estimator import *
from ._estimator.base import *
from ._problem import AbstractProblem as AbstractProblem
