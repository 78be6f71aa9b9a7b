"""Immediate derivatives: how a step's parameters enter the state that it makes."""

from .immediate_jacobian import ImmediateJacobian as ImmediateJacobian
from .layers import Layer as Layer
from .layers import gather_gradient as gather_gradient
from .program import entrywise as entrywise
from .telling import Telling as Telling
from .telling import TellingState as TellingState
from .telling import Told as Told
from .telling import told_in as told_in
from .unit_jacobian import UnitFacts as UnitFacts
from .unit_jacobian import UnitJacobian as UnitJacobian
