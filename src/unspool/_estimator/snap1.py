from typing import ClassVar

from .influence import AbstractInfluence, AbstractSketch
from .units import UnitInfluence


class SnAp1(AbstractInfluence):
    r"""Sparse n-step approximation, n = 1: influences that stay where a parameter first acts.

    $$ \tilde G \leftarrow \mathrm{mask} \odot \Big( \frac{\partial s_{t+1}}{\partial s_t} \tilde G
       + \frac{\partial s_{t+1}}{\partial \theta} \Big) $$

    with a mask that keeps those numbers of the state that a parameter moves within one step, such
    as those of its own unit in a recurrent net. Each step's gradient uses the sketch that comes in,
    and the step's own derivative exactly. The estimate is **biased**: what units make of one
    another's influence is left out, from the step before on. There is no noise.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient within units | a unit per parameter | $N W$, tangents of the state | both modes |

    Prefer it to `TBPTT` with a short window for nets whose units mostly remember for themselves,
    such as GRU and LSTM, and to `UORO` where noise is what limits; where units do not read one
    another it is exact, as `ElementwiseRTRL` sees to. Layers and units are found by themselves:
    [recurrent nets](recurrent.md) says how.

    **Arguments:**

    - `num_workers`: trajectories, spread over the episode.
    - `window`: steps between estimates.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem = unspool.problems.CopyTask(cell="gru")
    >>> estimator = unspool.SnAp1(num_workers=16, window=1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.01))
    >>> estimator.plan(problem.horizon).num_steps  # 16 workers, a window
    16

    **Reference:** Menick, Elsen, Evci, Osindero, Simonyan, Graves (2020), A practical sparse
    approximation for real time recurrent learning, arXiv 2006.07232.
    """

    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient within units"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("menick2020",)

    @property
    def sketch(self) -> AbstractSketch:
        return UnitInfluence(exact=False)
