from typing import ClassVar

from .._counts import check_count
from .._reduce_rank import reduce_by_signs
from .influence import AbstractInfluence, AbstractSketch
from .kronecker import AbstractReduction, KroneckerSum, Terms


class OptimalReduction(AbstractReduction):
    """The reduction of least variance."""

    num_terms: int

    def reduce(self, terms, signs):
        count = len(terms.inputs) - 1
        return Terms(*reduce_by_signs(*terms, count, signs[: count + 1]))


class OK(AbstractInfluence):
    r"""Optimal Kronecker sum: the influence of a layer as the best sum of a few products.

    $$ \tilde G = \sum_{i=1}^{r} u_i \otimes M_i, \qquad
       (u_i, M_i)_{i \le r} \leftarrow \mathrm{reduce} \Big( \Big(
       u_i, \frac{\partial s_{t+1}}{\partial s_t} M_i \Big)_{i \le r}, \Big(
       v, \frac{\partial s_{t+1}}{\partial p} \Big) \Big) $$

    where a layer's preactivation $p$ is its matrix times $v$, and `reduce_rank` makes $r$ terms of
    $r + 1$, unbiased and with the least variance. Each step's gradient uses the sketch that comes
    in, and the step's own derivative exactly. With as many terms as a layer has inputs nothing is
    random, and it is `RTRL`.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | $r$ states per preactivation | $N W$, $r$ tangents per preactivation | both modes |

    Prefer it to `KFRTRL` where noise is what limits, and `RTRL` where that can be paid for.
    Layers are found by themselves: [recurrent nets](recurrent.md) says how a step must be written.

    **Arguments:**

    - `num_workers`: trajectories, each with signs of its own, spread over the episode.
    - `window`: steps between estimates.
    - `num_terms`: $r$, the products that are kept for each layer.

    **Raises:** `ValueError` for a count below 1; and, with a problem, where a matrix of the
    parameters enters the state otherwise than by products with vectors.

    **Example:**

    >>> problem = unspool.problems.CopyTask()
    >>> estimator = unspool.OK(num_workers=16, window=1, num_terms=4)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.01))
    >>> estimator.plan(problem.horizon).num_steps  # 16 workers, a window
    16

    **Reference:** Benzing, Gauy, Mujika, Martinsson, Steger (2019), Optimal Kronecker-sum
    approximation of real time recurrent learning, arXiv 1902.03993.
    """

    num_workers: int
    window: int
    num_terms: int = 4
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("benzing2019",)

    def __check_init__(self):
        check_count(num_terms=self.num_terms)

    @property
    def sketch(self) -> AbstractSketch:
        return KroneckerSum(OptimalReduction(self.num_terms))
