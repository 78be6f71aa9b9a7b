"""What an estimator or a problem of your own is made of; `docs/extending.md` shows how."""

from ._estimator.directions import AbstractDirections as AbstractDirections
from ._estimator.directions import GaussianDirections as GaussianDirections
from ._estimator.influence import AbstractInfluence as AbstractInfluence
from ._estimator.influence import AbstractSketch as AbstractSketch
from ._estimator.influence import LinearStep as LinearStep
from ._estimator.perturbed import AbstractPerturbed as AbstractPerturbed
from ._estimator.perturbed import Tableau as Tableau
from ._estimator.phases import AbstractPhases as AbstractPhases
from ._estimator.phases import EvenPhases as EvenPhases
from ._estimator.phases import IndependentPhases as IndependentPhases
from ._estimator.phases import LockStep as LockStep
from ._estimator.probe import AbstractProbe as AbstractProbe
from ._estimator.probe import Antithetic as Antithetic
from ._estimator.probe import CentredAntithetic as CentredAntithetic
from ._estimator.probe import ControlledAntithetic as ControlledAntithetic
from ._estimator.probe import Reading as Reading
from ._estimator.probe import Tangent as Tangent
from ._estimator.reverse import AbstractReverse as AbstractReverse
from ._estimator.sigma import Sigma as Sigma
from ._estimator.sigma import as_sigma as as_sigma
from ._wrapper import AbstractWrapper as AbstractWrapper
