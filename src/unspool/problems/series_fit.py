"""Fitting the rates and the start of a differential equation to an observed series."""

import os
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from .._problem import AbstractProblem
from ._check import check_integer, check_positive
from ._series import check_series, read_series
from .lotka_volterra import lotka_volterra, lynx_hare

VectorField = Callable[[Float[Array, " rates"], Float[Array, " d"]], Float[Array, " d"]]


class SeriesFit(AbstractProblem):
    r"""Fitting $\dot x = f(\mathrm{rates}, x)$ to a positive series, on a logarithmic scale.

    $$ L = \frac{1}{n d} \sum_{i=1}^{n} \big\lVert \log x(\tau_i) - \log y_i \big\rVert^2,
       \qquad \theta = (\log \mathrm{rates}, \log x(\tau_1)) $$

    The equation is solved for $\log x$ by the classical Runge-Kutta method, so that the state
    stays positive; a step's loss is zero unless it reaches an observation (the
    first one is scored with the first step), scaled so that the time average is $L$.

    By default Lotka-Volterra equations are fitted to `lynx_hare`, from rates that are a bad
    guess: (1, 0.05, 1, 0.05) has populations circle 20 in about 7 years, where the record
    circles about 20 lynx and 34 hares in 10. Prediction and record are out of step from the
    second cycle on, so that the landscape has local minima and gradients through the whole series
    mislead, while the solution stays finite.

    **Arguments:**

    - `times`: the $n \ge 2$ increasing times $\tau_i$ of the observations, equidistant or not; by
      default the years of `lynx_hare`.
    - `observations`: the series $y$, positive, of shape `(n, d)`; by default the pelts.
    - `vector_field`: the function $f$ of the rates and the state, in JAX.
    - `init_rates`: the positive rates that training starts from; $x(\tau_1)$ starts at $y_1$.
    - `steps_per_interval`: Runge-Kutta steps between two observations.

    The parameters are a dictionary of two vectors, `log_rates` and `log_start`.

    Source: least squares on logarithms; the default equations and data have their own sources.
    """

    times: Float[np.ndarray, " n"]
    observations: Float[np.ndarray, "n d"]
    vector_field: VectorField
    init_rates: Float[np.ndarray, " rates"]
    steps_per_interval: int
    horizon: int

    def __init__(
        self,
        times: ArrayLike | None = None,
        observations: ArrayLike | None = None,
        vector_field: VectorField = lotka_volterra,
        init_rates: Sequence[float] = (1.0, 0.05, 1.0, 0.05),
        steps_per_interval: int = 20,
    ):
        check_integer("steps_per_interval", steps_per_interval)
        years, pelts = lynx_hare()
        self.times = np.asarray(years if times is None else times, np.float64)
        self.observations = np.asarray(pelts if observations is None else observations, np.float64)
        self.vector_field = vector_field
        self.init_rates = np.asarray(init_rates, np.float64)
        self.steps_per_interval = steps_per_interval
        self.horizon = (np.size(self.times) - 1) * steps_per_interval

    def __check_init__(self):
        check_series(self.times, self.observations)
        if np.ndim(self.init_rates) != 1:
            raise ValueError(
                f"init_rates must be a vector, got the shape {np.shape(self.init_rates)}"
            )
        for index, rate in enumerate(self.init_rates):
            check_positive(f"init_rates[{index}]", float(rate))

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike,
        vector_field: VectorField,
        init_rates: Sequence[float],
        steps_per_interval: int = 20,
    ) -> "SeriesFit":
        """A fit to a CSV file: a header, then a row for each time, the time in the first column.

        A cell that is not a number, a value that is not positive, times that do not increase
        and fewer than 2 rows raise a `ValueError` that says where.
        """
        _, times, observations = read_series(path)
        return cls(times, observations, vector_field, init_rates, steps_per_interval)

    def init_params(self, *, key):
        return {
            "log_rates": jnp.log(jnp.array(self.init_rates, float)),
            "log_start": jnp.log(jnp.array(self.observations[0], float)),
        }

    def init_state(self, params, *, key):
        return params["log_start"]

    def step(self, params, state, t, *, key):
        # Copies: JAX remembers the precision that a NumPy array was first traced with.
        times = jnp.asarray(self.times.astype(jnp.result_type(float)))
        logs = jnp.log(jnp.asarray(self.observations.astype(jnp.result_type(float))))
        interval = t // self.steps_per_interval
        dt = (times[interval + 1] - times[interval]) / self.steps_per_interval
        after = self._runge_kutta(jnp.exp(params["log_rates"]), state, dt)
        reached = (t + 1) % self.steps_per_interval == 0
        loss = jnp.where(reached, jnp.mean((after - logs[interval + 1]) ** 2), 0.0)
        loss = loss + jnp.where(t == 0, jnp.mean((state - logs[0]) ** 2), 0.0)
        return after, loss * (self.horizon / len(self.times))

    def _runge_kutta(self, rates, log_state, dt):
        def slope(log_state):
            state = jnp.exp(log_state)
            return self.vector_field(rates, state) / state

        k1 = slope(log_state)
        k2 = slope(log_state + 0.5 * dt * k1)
        k3 = slope(log_state + 0.5 * dt * k2)
        k4 = slope(log_state + dt * k3)
        return log_state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
