"""Observations of a mean of 0 and a standard deviation of 1, by what random play has shown."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """The mean that is subtracted from observations, and the deviation they are divided by."""

    mean: Float[np.ndarray, " observation"]
    deviation: Float[np.ndarray, " observation"]

    def apply(self, observations: Float[np.ndarray, "rows observation"]) -> np.ndarray:
        return (observations - self.mean) / self.deviation


def measure(observations: Float[np.ndarray, "steps observation"]) -> Normalization:
    """The normalization of these observations. Constant entries keep their scale."""
    deviation = observations.std(0)
    return Normalization(observations.mean(0), np.where(deviation > 1e-8, deviation, 1.0))
