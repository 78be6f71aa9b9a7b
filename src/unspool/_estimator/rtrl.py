from typing import ClassVar

import jax
import jax.numpy as jnp

from .. import _rows as rows
from .influence import AbstractInfluence, AbstractSketch


class Columns(AbstractSketch):
    """The derivative itself, a column for each parameter: leaves of workers x columns."""

    def blank(self, state, params):
        size = rows.ravel(params)[0].size
        return jax.vmap(lambda x: rows.repeat(rows.zeros_like(x), size))(state)

    def pull(self, sketch, cotangent, params):
        flat, unravel = rows.ravel(params)
        along = lambda column: rows.dot(column, cotangent)
        pulled = jax.vmap(along, in_axes=1, out_axes=1)(sketch)
        return jax.vmap(unravel)(pulled.astype(flat.dtype))

    def push(self, sketch, step, keys, params):
        flat, unravel = rows.ravel(params)
        basis = jax.vmap(unravel)(jnp.eye(flat.size, dtype=flat.dtype))
        along = lambda column, direction: step.forward(column, rows.repeat(direction, keys.size))
        return jax.vmap(along, in_axes=(1, 0), out_axes=1)(sketch, basis)


class RTRL(AbstractInfluence):
    r"""Real-time recurrent learning: the exact influence of every parameter, carried forward.

    $$ G_{t+1} = \frac{\partial s_{t+1}}{\partial s_t} G_t +
       \frac{\partial s_{t+1}}{\partial \theta}, \qquad
       \hat g = \frac{1}{N W} \sum_{i=1}^{N} \sum_{t \in \text{window}}
       \Big( \frac{\partial \ell_t}{\partial s_t} G_t +
       \frac{\partial \ell_t}{\partial \theta} \Big)^{(i)} $$

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | one state per parameter | $N W$, with a tangent per parameter | both modes |

    Prefer it for a handful of parameters (physical constants, hyperparameters) in smooth
    problems: unbiased, without noise, and updates after every window.

    **Arguments:**

    - `num_workers`: trajectories, spread over the episode.
    - `window`: steps between estimates.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem, params = unspool.problems.InfluenceBalancing(), jnp.array(0.5)
    >>> estimator = unspool.RTRL(num_workers=10, window=10)
    >>> workers = estimator.init(problem, params, key=jax.random.key(0))
    >>> estimate, workers = estimator.estimate(problem, params, workers)
    >>> print(f"{estimate.grad:.0f}")
    36

    **Reference:** Williams, Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks, Neural Computation 1(2).
    """

    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("williams1989",)

    @property
    def sketch(self) -> AbstractSketch:
        return Columns()
