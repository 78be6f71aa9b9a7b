"""Observations of a mean of 0 and a standard deviation of 1, by what random play has shown."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """What is taken from every observation, and what it is then divided by."""

    mean: Float[np.ndarray, " observation"]
    deviation: Float[np.ndarray, " observation"]

    def apply(self, observations: Float[np.ndarray, "rows observation"]) -> np.ndarray:
        return (observations - self.mean) / self.deviation


def measure(observations: Float[np.ndarray, "steps observation"]) -> Normalization:
    """That of these observations. What has not varied keeps its scale."""
    deviation = observations.std(0)
    return Normalization(observations.mean(0), np.where(deviation > 1e-8, deviation, 1.0))
