import functools as ft
import math
import warnings
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from .. import _rows as rows
from .._custom_types import BoolScalar, Params, RandomKey, Scalar, WorkerMask
from .._engine import AbstractEngine
from .._joint import AnyProblem, as_joint
from .._params import split, strip_weak_type
from .._programs import call_known_program
from .._random import as_key
from .influence import linearize
from .reverse import AbstractReverse

_MOST_EXCESS = 100.0
_NUM_EPISODES = 4


def _cut_at_random(
    truncation: float, keys: Key[Array, " workers"], state: PyTree[Any]
) -> PyTree[Any]:
    """The state of each worker; its derivative passes with a chance, and counts the more then."""
    chance = 1 - truncation
    passes = jax.vmap(ft.partial(_draw_passes, chance))(keys)
    floats, rest = rows.split_floats(state)
    return eqx.combine(_gate(passes, jnp.full(passes.shape, 1 / chance), floats), rest)


def _draw_passes(chance: float, key: RandomKey) -> BoolScalar:
    return jax.random.bernoulli(key, chance)


@jax.custom_jvp
def _gate(passes: WorkerMask, factors: Array, state: PyTree[Any]) -> PyTree[Any]:
    """The state as it is; of its derivative that of some workers alone, times a factor."""
    return state


@_gate.defjvp
def _gate_derivative(primals, tangents):
    (passes, factors, state), (*_, tangent) = primals, tangents
    return state, rows.select(passes, rows.scale(factors, tangent), rows.zeros_like(tangent))


def _measure_decay(problem: AnyProblem, params: Params, key: RandomKey) -> Scalar:
    """The largest factor, among problems, by which a derivative of the state changes in a step."""
    trained, fixed = split(strip_weak_type(params))
    engines = as_joint(problem).complete(fixed).engines
    return jnp.max(jnp.stack([_measure_one(engine, trained, key) for engine in engines]))


def _measure_one(engine: AbstractEngine, params: Params, key: RandomKey) -> Scalar:
    start = engine.start(params, jax.random.split(key, _NUM_EPISODES))
    state, _ = rows.split_floats(rows.arm(start.arms.state, 0))
    if not jax.tree.leaves(state):
        return jnp.zeros(())
    still = rows.repeat(rows.zeros_like(params), _NUM_EPISODES)

    def step(carry, _):
        trajectories, tangent, logarithms = carry
        unroll = lambda before, shift: engine.unroll(params, before, 1, shift)
        running = ~rows.arm(trajectories.arms.done, 0)
        after, _, derivative = linearize(unroll, trajectories, still)
        moved = derivative.forward(tangent, None)
        norm = rows.norm(moved)
        change = jnp.where(running, jnp.log(norm), 0)
        unit = rows.select(norm > 0, rows.scale(1 / jnp.where(norm > 0, norm, 1), moved), moved)
        return (after, unit, logarithms + change), running

    ones = jax.tree.map(jnp.ones_like, state)
    unit = rows.scale(1 / rows.norm(ones), ones)
    carry = start, unit, jnp.zeros(_NUM_EPISODES, jnp.result_type(float))
    (*_, logarithms), ran = jax.lax.scan(step, carry, length=engine.horizon)
    return jnp.exp(jnp.sum(logarithms) / jnp.maximum(jnp.sum(ran), 1))


class ARTBP(AbstractReverse):
    r"""Anticipated reweighted truncated backpropagation: cuts at random, and no bias.

    $$ \frac{\partial \ell}{\partial s_t} \leftarrow \frac{b_t}{1 - c}
       \frac{\partial \ell}{\partial s_t}, \qquad b_t = 1 \text{ with probability } 1 - c,
       \text{ else } 0 $$

    on the way back from each step to the one before. What comes from $k$ steps back survives with
    probability $(1 - c)^k$ and counts $(1 - c)^{-k}$ times as much: the mean is the gradient.

    Its second moment grows as $(1 - c)^{-k}$. Where derivatives of the state shrink by a factor
    $a$ a step, the variance is finite however long the episode if $a^2 < 1 - c$. `train` measures
    $a$ on four episodes, and warns if the variance grows more than a hundredfold over an episode;
    it says which truncation would do. In a loop of your own, call `check_start`.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | none between estimates, all $T$ states within one | $N T$ | reverse mode |

    Prefer `BPTT` for training: a compiled program has its shapes beforehand, so that this one needs
    as much memory. It shows what unbiased truncation costs in noise.

    **Arguments:**

    - `num_workers`: episodes averaged over.
    - `truncation`: probability $c$ of a cut between two steps, from 0 to below 1; 0 is `BPTT`.

    **Raises:** `ValueError` for a count below 1, or a truncation that is no such probability.

    **Example:**

    >>> problem = unspool.problems.LinearQuadratic()
    >>> estimator = unspool.ARTBP(num_workers=4, truncation=0.2)
    >>> unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100).passed
    True

    **Reference:** Tallec, Ollivier (2017), Unbiasing truncated backpropagation through time,
    arXiv 1705.08209.
    """

    num_workers: int = 1
    truncation: float = 0.05
    window: ClassVar[int | None] = None
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("tallec2017artbp",)

    def __check_init__(self):
        if not 0 <= self.truncation < 1:
            nearest = 0.0 if self.truncation < 0 else 0.99
            raise ValueError(
                f"truncation must be a probability from 0 to below 1, got {self.truncation!r}; the "
                f"nearest legal value is {nearest}"
            )

    @property
    def gate(self):
        return ft.partial(_cut_at_random, self.truncation)

    def check_start(self, problem, params, key):
        if self.truncation == 0:
            return
        horizon = as_joint(problem).horizon
        decay = float(call_known_program(_measure_decay, (problem,), params, as_key(key)))
        growth = min(decay, 1.0) ** 2 / (1 - self.truncation)
        # Compared as logarithms, for the power may be too large for a float.
        if horizon * math.log(max(growth, 1e-30)) > math.log(_MOST_EXCESS):
            most = 1 - min(decay, 1.0) ** 2 / _MOST_EXCESS ** (1 / horizon)
            warnings.warn(
                f"derivatives of the state change by a factor of {decay:.3g} a step, so that with "
                f"truncation={self.truncation} the variance of what comes from k steps back grows "
                f"as {growth:.3g}^k, and episodes have {horizon} steps; have a truncation of at "
                f"most {math.floor(1e4 * most) / 1e4}, or BPTT",
                stacklevel=4,
            )
