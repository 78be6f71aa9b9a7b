from typing import ClassVar

from .influence import AbstractInfluence, AbstractSketch
from .units import UnitInfluence


class ElementwiseRTRL(AbstractInfluence):
    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("irie2023", "zucchet2023")

    @property
    def sketch(self) -> AbstractSketch:
        return UnitInfluence(exact=True)
