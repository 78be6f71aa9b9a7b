"""The parts of estimators and problems of your own; `docs/extending.md` shows how."""

from ._estimator.control import AbstractControl as AbstractControl
from ._estimator.control import AnalyticNewestControl as AnalyticNewestControl
from ._estimator.cut import AbstractCut as AbstractCut
from ._estimator.directions import AbstractDirections as AbstractDirections
from ._estimator.directions import Draw as Draw
from ._estimator.directions import Use as Use
from ._estimator.influence import AbstractInfluence as AbstractInfluence
from ._estimator.influence import AbstractSketch as AbstractSketch
from ._estimator.influence import LinearStep as LinearStep
from ._estimator.perturbed import AbstractPerturbed as AbstractPerturbed
from ._estimator.phases import AbstractPhases as AbstractPhases
from ._estimator.phases import LockStep as LockStep
from ._estimator.probe import AbstractProbe as AbstractProbe
from ._estimator.probe import Antithetic as Antithetic
from ._estimator.probe import Branches as Branches
from ._estimator.probe import CenteredAntithetic as CenteredAntithetic
from ._estimator.probe import ControlledAntithetic as ControlledAntithetic
from ._estimator.probe import Measurement as Measurement
from ._estimator.probe import Tangent as Tangent
from ._estimator.reverse import AbstractReverse as AbstractReverse
from ._estimator.sigma import AbstractSigma as AbstractSigma
from ._estimator.sigma import MadeUpdate as MadeUpdate
from ._estimator.sigma import Sigma as Sigma
from ._estimator.sigma import as_sigma as as_sigma
from ._estimator.tableau import Tableau as Tableau
from ._wrapper import AbstractWrapper as AbstractWrapper
