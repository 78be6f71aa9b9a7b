from typing import ClassVar

from .reverse import AbstractReverse


class BPTT(AbstractReverse):
    r"""Backpropagation through time: reverse mode through whole episodes.

    $$ \hat g = \frac{1}{N T} \sum_{i=1}^{N} \nabla_\theta \sum_{t=0}^{T-1} \ell_t^{(i)} $$

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | none between estimates, all $T$ states within one | $N T$ | reverse mode |

    Prefer it for smooth problems whose episodes fit in memory. The gradient is exact for its data;
    where the computation is chaotic, exact gradients are useless, and `NRES` smooths.

    **Arguments:**

    - `num_workers`: episodes averaged over; one is enough if nothing is random.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem, params = unspool.problems.InfluenceBalancing(), jnp.array(0.5)
    >>> estimator = unspool.BPTT(num_workers=1)
    >>> workers = estimator.init(problem, params, key=jax.random.key(0))
    >>> estimate, workers = estimator.estimate(problem, params, workers)
    >>> print(f"{estimate.grad:.0f}")
    36

    **Reference:** Werbos (1990), Backpropagation through time, Proceedings of the IEEE 78(10).
    """

    num_workers: int = 1
    window: ClassVar[int | None] = None
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("werbos1990",)
