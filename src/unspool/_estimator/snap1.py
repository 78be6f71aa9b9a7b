from typing import ClassVar

from .influence import AbstractInfluence, AbstractSketch
from .units import UnitInfluence


class SnAp1(AbstractInfluence):
    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient within units"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("menick2020",)

    @property
    def sketch(self) -> AbstractSketch:
        return UnitInfluence(exact=False)
