from typing import ClassVar

from .influence import AbstractInfluence, AbstractSketch
from .units import UnitInfluence


class ElementwiseRTRL(AbstractInfluence):
    r"""Real-time recurrent learning at the cost of the parameters, for element-wise recurrences.

    $$ G_{ij} \leftarrow \frac{\partial s_{t+1, i}}{\partial s_{t, i}} G_{ij} +
       \frac{\partial s_{t+1, i}}{\partial p_i} v_j $$

    where the parameters $\theta_{ij}$ enter unit $i$ by its preactivation
    $p_i = \sum_j \theta_{ij} v_j$, and $s_{t, i}$ are the numbers of unit $i$: one in each array of
    the state. It is `RTRL` without the zeros, and as exact.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | a unit per parameter | $N W$, a tangent per number of a unit | both modes |

    Prefer it wherever it works: in nets of one recurrent layer whose units read inputs and
    themselves alone, such as linear recurrent units, IndRNN and element-wise LSTM. Whether units
    are apart is found in a step by itself: [recurrent nets](recurrent.md) says how.

    **Arguments:**

    - `num_workers`: trajectories, spread over the episode.
    - `window`: steps between estimates.

    **Raises:** `ValueError` for a count below 1; and, with a problem, where an entry of an array of
    the state depends on another entry of the same array at an earlier time.

    **Example:**

    >>> problem = unspool.problems.CopyTask(cell="independent", num_hidden=100)
    >>> estimator = unspool.ElementwiseRTRL(num_workers=16, window=1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.01))
    >>> estimator.plan(problem.horizon).num_steps  # 16 workers, a window
    16

    **Reference:** Irie, Gopalakrishnan, Schmidhuber (2023), Exploring the promise and limits of
    real-time recurrent learning, arXiv 2305.19044; Zucchet, Meier, Schug, Mujika, Sacramento
    (2023), Online learning of long-range dependencies, arXiv 2305.15947.
    """

    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("irie2023", "zucchet2023")

    @property
    def sketch(self) -> AbstractSketch:
        return UnitInfluence(exact=True)
