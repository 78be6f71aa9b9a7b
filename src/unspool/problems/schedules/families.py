"""Families of schedules: a hyperparameter as a function of the step, with numbers to tune."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from scipy.interpolate import CubicSpline

from ..._custom_types import IntScalar, Scalar
from .._check import check_positive
from .transforms import AbstractTransform, Log, is_transform


class AbstractSchedule(eqx.Module):
    """A hyperparameter over a training run of `horizon` steps.

    The numbers that make it up are tuned as unconstrained coordinates; a transform leads from
    these to values.
    """

    @abc.abstractmethod
    def init(self) -> PyTree:
        """The coordinates at the start of tuning."""

    @abc.abstractmethod
    def transforms(self) -> PyTree:
        """The transform of each coordinate, in the same tree."""

    @abc.abstractmethod
    def value(self, coordinates: PyTree, t: IntScalar | int, horizon: int) -> Scalar:
        """The hyperparameter at step `t`, counted from 0."""

    def natural_units(self, coordinates: PyTree) -> PyTree:
        """The same tree in the hyperparameter's natural units, in which the optimizer takes it."""
        to_value = lambda transform, coordinate: transform.value(coordinate)
        return jax.tree.map(to_value, self.transforms(), coordinates, is_leaf=is_transform)


class Constant(AbstractSchedule):
    """The same value at every step.

    **Arguments:**

    - `start`: the value that tuning starts from.
    - `transform`: `Log()` for what is positive, `Logit()` for what lies between 0 and 1.
    """

    start: float
    transform: AbstractTransform = Log()

    def __check_init__(self):
        self.init()

    def init(self):
        return self.transform.coordinate("start", self.start)

    def transforms(self):
        return self.transform

    def value(self, coordinates, t, horizon):
        return self.transform.value(coordinates)


class _TwoValues(AbstractSchedule):
    """A schedule between two values."""

    first: eqx.AbstractVar[float]
    last: eqx.AbstractVar[float]
    transform: eqx.AbstractVar[AbstractTransform]

    def __check_init__(self):
        self.init()

    def init(self):
        coordinate = self.transform.coordinate
        return {"first": coordinate("first", self.first), "last": coordinate("last", self.last)}

    def transforms(self):
        return {"first": self.transform, "last": self.transform}

    @abc.abstractmethod
    def _weight(self, fraction: Scalar) -> Scalar:
        """The weight of the last value, from 0 to 1; that of the first is the rest."""

    def value(self, coordinates, t, horizon):
        ends = self.natural_units(coordinates)
        weight = self._weight(_fraction(t, horizon))
        return (1 - weight) * ends["first"] + weight * ends["last"]


class Linear(_TwoValues):
    r"""A straight line, $\frac{T - t}{T}\, \mathrm{first} + \frac{t}{T}\, \mathrm{last}$.

    **Arguments:** `first` and `last`, the values that tuning starts from, and `transform`.
    """

    first: float
    last: float
    transform: AbstractTransform = Log()

    def _weight(self, fraction):
        return fraction


class Cosine(_TwoValues):
    r"""Half a period of a cosine, $\mathrm{last} + (\mathrm{first} - \mathrm{last})\,
    \frac{1}{2} (1 + \cos(\pi t / T))$.

    **Arguments:** `first` and `last`, the values that tuning starts from, and `transform`.
    """

    first: float
    last: float
    transform: AbstractTransform = Log()

    def _weight(self, fraction):
        return (1 - jnp.cos(jnp.pi * fraction)) / 2


class InverseTime(AbstractSchedule):
    r"""Inverse-time decay, $\mathrm{first} \,/\, (1 + t / \tau)^{\mathrm{decay}}$.

    **Arguments:**

    - `first`: the value at step 0 that tuning starts from.
    - `decay`: the exponent that tuning starts from, above 0; it has a coordinate of its own, always
      its logarithm.
    - `timescale`: $\tau$ in steps; by default the horizon.
    - `transform`: that of the first value.

    Source: Vicol, Metz and Sohl-Dickstein (2021), arXiv:2112.13835, with $\tau$ = 5000.
    """

    first: float
    decay: float
    timescale: float | None = None
    transform: AbstractTransform = Log()

    def __check_init__(self):
        self.init()
        if self.timescale is not None:
            check_positive("timescale", self.timescale)

    def init(self):
        first = self.transform.coordinate("first", self.first)
        return {"first": first, "decay": Log().coordinate("decay", self.decay)}

    def transforms(self):
        return {"first": self.transform, "decay": Log()}

    def value(self, coordinates, t, horizon):
        values = self.natural_units(coordinates)
        base = 1 + jnp.asarray(t, values["first"].dtype) / (self.timescale or horizon)
        return values["first"] / base ** values["decay"]


class _ValueSequence(AbstractSchedule):
    """A schedule made of several values, spread over the run."""

    values: eqx.AbstractVar[tuple[float, ...]]
    transform: eqx.AbstractVar[AbstractTransform]

    def __check_init__(self):
        if len(self.values) < 2:
            raise ValueError(f"values must be at least two, got {self.values}")
        self.init()

    def init(self):
        return self.transform.coordinate("values", self.values)

    def transforms(self):
        return self.transform


class Piecewise(_ValueSequence):
    """Constant on parts of equal length.

    **Arguments:** `values`, one for each part, that tuning starts from, and `transform`.
    """

    values: tuple[float, ...]
    transform: AbstractTransform = Log()

    def value(self, coordinates, t, horizon):
        count = len(self.values)
        part = jnp.clip(jnp.asarray(t) * count // horizon, 0, count - 1)
        return self.transform.value(coordinates[part])


class Spline(_ValueSequence):
    """A natural cubic spline of the coordinates, so that values are legal between knots too.

    **Arguments:** `values` at evenly spread knots, the first at step 0 and the last at the end of
    the run, that tuning starts from, and `transform`.
    """

    values: tuple[float, ...]
    transform: AbstractTransform = Log()

    def value(self, coordinates, t, horizon):
        count = len(self.values)
        knots = np.linspace(0.0, 1.0, count)
        # A spline is linear in its knots: cubics are indexed by power, piece and knot.
        cubics = jnp.asarray(
            CubicSpline(knots, np.eye(count), bc_type="natural").c, coordinates.dtype
        )
        fraction = _fraction(t, horizon)
        piece = jnp.clip((fraction * (count - 1)).astype(int), 0, count - 2)
        offset = fraction - jnp.asarray(knots, coordinates.dtype)[piece]
        powers = offset ** jnp.arange(3, -1, -1)
        return self.transform.value(jnp.einsum("p,pk,k->", powers, cubics[:, piece], coordinates))


def _fraction(t: Any, horizon: int) -> Scalar:
    """The fraction of the run before step `t`, from 0 to 1."""
    return jnp.clip(jnp.asarray(t, jnp.result_type(float)) / horizon, 0.0, 1.0)
