"""Transforms: hyperparameters as unconstrained numbers, which can be perturbed and updated."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class AbstractTransform(eqx.Module):
    """A hyperparameter as an increasing function of an unconstrained coordinate.

    Values are clipped to `low` and `high` where these are given; beyond, the coordinate moves on
    and the value stays.
    """

    low: eqx.AbstractVar[float | None]
    high: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def _value(self, coordinate: Float[Array, "..."]) -> Float[Array, "..."]:
        """The value before it is clipped."""

    @abc.abstractmethod
    def _coordinate(self, value: np.ndarray) -> np.ndarray:
        """The coordinate of a legal value."""

    @abc.abstractmethod
    def _legal(self) -> tuple[float, float]:
        """The open interval that values lie in."""

    def __check_init__(self):
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None:
                self._check(name, value)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low} and high={self.high}")

    @property
    def coordinate_name(self) -> str:
        """The coordinate in words, as `log {}`, with a place for the hyperparameter's name."""
        names = {Identity: "{}", Log: "log {}", Logit: "logit {}"}
        clipped = "" if self.low is None and self.high is None else ", before clipping"
        return names.get(type(self), "coordinate of {}") + clipped

    def value(self, coordinate: Float[Array, "..."]) -> Float[Array, "..."]:
        """The hyperparameter at a coordinate."""
        return jnp.clip(self._value(coordinate), self.low, self.high)

    def coordinate(self, name: str, value: object) -> Float[Array, "..."]:
        """The coordinate of a value, or of each of several.

        **Raises:** `ValueError` that calls the value `name`, if it is out of range.
        """
        values = np.asarray(value, float)
        for one in values.ravel():
            self._check(name, float(one))
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not np.all((low <= values) & (values <= high)):
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")
        return jnp.asarray(self._coordinate(values), jnp.result_type(float))

    def _check(self, name: str, value: float) -> None:
        low, high = self._legal()
        if not low < value < high:
            raise ValueError(f"{name} must be above {low} and below {high}, got {value}")


class Identity(AbstractTransform):
    """The coordinate itself, for hyperparameters of any sign."""

    low: float | None = None
    high: float | None = None

    def _value(self, coordinate):
        return coordinate

    def _coordinate(self, value):
        return value

    def _legal(self):
        return -math.inf, math.inf


class Log(AbstractTransform):
    """The exponential of the coordinate, for rates and strengths; with bounds, a clipped one."""

    low: float | None = None
    high: float | None = None

    def _value(self, coordinate):
        return jnp.exp(coordinate)

    def _coordinate(self, value):
        return np.log(value)

    def _legal(self):
        return 0.0, math.inf


class Logit(AbstractTransform):
    """The logistic function of the coordinate, for what lies between 0 and 1."""

    low: float | None = None
    high: float | None = None

    def _value(self, coordinate):
        return jax.nn.sigmoid(coordinate)

    def _coordinate(self, value):
        return np.log(value) - np.log1p(-value)

    def _legal(self):
        return 0.0, 1.0


def is_transform(value: object) -> bool:
    """True for a transform, which is a leaf of a tree of them."""
    return isinstance(value, AbstractTransform)
