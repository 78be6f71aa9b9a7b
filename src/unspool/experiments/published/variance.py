"""The variance of an estimator over an episode: measured, and in closed form."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key
from msgspec.structs import replace

from ..._custom_types import Params
from ..._problem import AbstractProblem
from ..._random import seeded_key
from ..._statistics.intervals import t_factor
from ...extend import AbstractPerturbed, LockStep, Tableau
from ...records import Series
from ...records.files import as_array


class LockStepped(AbstractPerturbed):
    """Another estimator that perturbs, with all workers at the start of an episode.

    The estimates of one episode's windows then add up to one estimate of its gradient.
    """

    estimator: AbstractPerturbed

    def __init__(self, estimator: AbstractPerturbed):
        self.estimator = estimator

    @property
    def num_workers(self) -> int:
        return self.estimator.num_workers

    @property
    def estimand(self) -> str:
        return self.estimator.estimand

    @property
    def tableau(self) -> Tableau:
        return dataclasses.replace(self.estimator.tableau, phases=LockStep())


@eqx.filter_jit
def window_estimates(
    problem: AbstractProblem,
    estimator: AbstractPerturbed,
    params: Params,
    keys: Key[Array, " episodes"],
) -> tuple[Float[Array, "episodes windows params"], Float[Array, " episodes"]]:
    """Estimates of each window of some episodes at fixed parameters, and the mean losses.

    The estimates of an episode add up to one of the gradient of its total loss.
    """
    num_windows = estimator.plan(problem.horizon).num_windows
    lock_stepped = LockStepped(estimator)

    def estimate(workers, _):
        found, workers = lock_stepped.estimate(problem, params, workers)
        return workers, (ravel_pytree(found.grad)[0], found.loss)

    def episode(key):
        workers = lock_stepped.init(problem, params, key=key)
        _, (grads, losses) = jax.lax.scan(estimate, workers, length=num_windows)
        return grads * (problem.horizon / num_windows), jnp.mean(losses)

    return jax.vmap(episode)(keys)


def variance_of_one_worker(
    problem: AbstractProblem,
    estimator: AbstractPerturbed,
    params: Params,
    keys: Key[Array, " episodes"],
) -> tuple[float, float]:
    r"""Traces of covariances at fixed parameters, without bias for any number of episodes above 1.

    The first is that of an estimate by a worker that is equally likely to be in any window, the
    second that of the mean of the estimates of an episode's windows, which for `NRES` is a pair
    of `FullES`:

    $$ \mathrm{mean}_{e, w} \lVert g_{e, w} \rVert^2 - \lVert \bar g \rVert^2
       + \tfrac{1}{E} V_2, \qquad
       V_2 = \tfrac{1}{E - 1} \sum_e \lVert \mathrm{mean}_w\, g_{e, w} - \bar g \rVert^2 $$
    """
    scale = estimator.plan(problem.horizon).num_windows / problem.horizon
    squares, means = [], []
    for key in keys:
        found = window_estimates(problem, estimator, params, key[None])[0]
        grads = scale * np.asarray(found[0], np.float64)
        squares.append(np.mean(np.sum(grads**2, axis=1)))
        means.append(grads.mean(axis=0))
    of_episode = float(np.sum(np.var(means, axis=0, ddof=1)))
    mean = np.mean(means, axis=0)
    return float(np.mean(squares) - mean @ mean + of_episode / len(keys)), of_episode


@dataclasses.dataclass(frozen=True, eq=False)
class Linearization:
    r"""The derivatives of an episode's windows, each with regard to a copy of the parameters.

    With $s_{w+1}$ the state after window $w$ and $L_w$ its loss:

    - `transition`: $A_w = \partial s_{w+1} / \partial s_w$;
    - `influence`: $B_w = \partial s_{w+1} / \partial \theta_w$;
    - `pull`: $a_w = \partial L_w / \partial s_w$;
    - `direct`: $d_w = \partial L_w / \partial \theta_w$.
    """

    transition: Float[np.ndarray, "windows state state"]
    influence: Float[np.ndarray, "windows state params"]
    pull: Float[np.ndarray, "windows state"]
    direct: Float[np.ndarray, "windows params"]

    @classmethod
    def of(cls, problem: AbstractProblem, params: Params) -> "Linearization":
        """Every step a window. Only for a start and steps that know nothing of parameters before
        them, nor of chance."""
        return cls(*(np.asarray(x, np.float64) for x in _linearize(problem, params)))

    def first(self, num_windows: int) -> "Linearization":
        """An episode that ends earlier."""
        return Linearization(*(x[:num_windows] for x in self._parts))

    def joined(self, count: int) -> "Linearization":
        """Windows of so many of these windows, of which there must be a multiple of that."""
        A, B, a, d = (x[::count].copy() for x in self._parts)
        for within in range(1, count):
            next_A, next_B, next_a, next_d = (x[within::count] for x in self._parts)
            a += np.einsum("wij,wi->wj", A, next_a)
            d += np.einsum("wip,wi->wp", B, next_a) + next_d
            A, B = next_A @ A, next_A @ B + next_B
        return Linearization(A, B, a, d)

    @property
    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.transition, self.influence, self.pull, self.direct

    @property
    def gradient(self) -> Float[np.ndarray, " params"]:
        """The gradient of the episode's total loss, carried forward."""
        H, total = np.zeros_like(self.influence[0]), np.zeros_like(self.direct[0])
        for A, B, a, d in zip(*self._parts, strict=True):
            total += a @ H + d
            H = A @ H + B
        return total

    def relative_variances(self) -> dict[str, float]:
        r"""The total variance of a pair's sum over an episode, over the squared gradient.

        With $G_{w,u} = \partial L_w / \partial \theta_u$, $m = \min(w, v)$, losses linear in the
        noise and $P$ parameters,

        $$ \mathrm{PES:} \quad \sum_{w,v} \Big[ P m \sum_{u \le m} G_{w,u} \cdot G_{v,u}
           + \Big( \sum_{u \le m} G_{v,u} \Big) \cdot \Big( \sum_{u \le m} G_{w,u} \Big) \Big] $$

        `PESAnalytic` is the same without the $G_{w,w}$ and with $m = \min(w, v) - 1$; `ESSingle`
        has $(P + 1)\, \lVert g \rVert^2$ whatever the windows. Terms of $w > v$ share what
        $\lambda = \sum_{w > v} \partial L_w / \partial s_{v+1}$ says of all later windows, so
        that the sums take one pass backwards and one forwards, with
        $H = \sum_u \partial s / \partial \theta_u$ and $Q$, the sum over $u$ of the outer
        products of $\partial s / \partial \theta_u$ with itself.
        """
        P = self.direct.shape[1]
        later = np.zeros_like(self.pull)
        for w in range(len(later) - 1, 0, -1):
            later[w - 1] = self.pull[w] + later[w] @ self.transition[w]
        H, Q = np.zeros_like(self.influence[0]), np.zeros_like(self.transition[0])
        gradient, pes, analytic = np.zeros(P), 0.0, 0.0
        for w, (A, B, a, d) in enumerate(zip(*self._parts, strict=True)):
            # Of earlier copies: this window's loss, and what twice the later ones add to it.
            both = a + 2 * later[w] @ A
            of_earlier = a @ Q @ both, (a @ H) @ (both @ H)
            analytic += P * w * of_earlier[0] + of_earlier[1]
            own, own_both = d, d + 2 * later[w] @ B
            pes += P * (w + 1) * (of_earlier[0] + own @ own_both)
            pes += (a @ H + own) @ (both @ H + own_both)
            gradient += a @ H + d
            H, Q = A @ H + B, A @ Q @ A.T + B @ B.T
        square = float(gradient @ gradient)
        return {
            "PES": float(pes) / square,
            "PES+Analytic": float(analytic) / square,
            "ESSingle": P + 1.0,
        }


@eqx.filter_jit
def _linearize(problem: AbstractProblem, params: Params):
    key = seeded_key(0)
    theta, to_params = ravel_pytree(params)
    start, to_state = ravel_pytree(problem.init_state(params, key=key))

    def step(state, theta, t):
        after, loss = problem.step(to_params(theta), to_state(state), t, key=key)
        return ravel_pytree(after)[0], loss

    def advance(state, t):
        of_state, of_theta = jax.jacrev(step, argnums=0), jax.jacrev(step, argnums=1)
        (A, a), (B, d) = of_state(state, theta, t), of_theta(state, theta, t)
        return step(state, theta, t)[0], (A, B, a, d)

    return jax.lax.scan(advance, start, jnp.arange(problem.horizon))[1]


def measured_series(
    label: str, x: np.ndarray, values: Float[np.ndarray, "seeds points"]
) -> list[Series]:
    """Means over seeds as points, with bands of their 95 % t-intervals where there are some."""
    mean, count = values.mean(axis=0), len(values)
    series = [Series.points(label, x, mean)]
    if count > 1:
        half_width = t_factor(count) * values.std(axis=0, ddof=1) / math.sqrt(count)
        series.append(Series.band(label, x, mean - half_width, mean + half_width))
    return series


def geometric_series(
    label: str, x: np.ndarray, values: Float[np.ndarray, "seeds points"]
) -> list[Series]:
    """As `measured_series`, with geometric means and the intervals of the logarithms' means."""
    logarithms = measured_series(label, x, np.log(values))
    exp = lambda numbers: np.exp(as_array(numbers)).tolist()
    found = [replace(s, y=exp(s.y), low=exp(s.low), high=exp(s.high)) for s in logarithms]
    return [replace(found[0], style="line"), *found]
