from typing import ClassVar

from .reverse import AbstractReverse


class TBPTT(AbstractReverse):
    r"""Truncated backpropagation through time: reverse mode through one window at a time.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N}
       \nabla_\theta \sum_{t \in \text{window}} \ell_t^{(i)} $$

    with the state at the start of the window constant. The estimate is **biased**: what the
    parameters did before the window is ignored. A window as long as the episode gives `BPTT`.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | window gradient | one state; $W$ states within an estimate | $N W$ | reverse mode |

    Prefer it when influences die out within a window: cheap, and without noise of its own.

    **Arguments:**

    - `num_workers`: trajectories, spread over the episode.
    - `window`: steps between estimates, and through which derivatives reach back.

    **Raises:** `ValueError` for a count below 1.

    **Example:**

    >>> problem, params = unspool.problems.InfluenceBalancing(), jnp.array(0.5)
    >>> estimator = unspool.TBPTT(num_workers=10, window=10)
    >>> workers = estimator.init(problem, params, key=jax.random.key(0))
    >>> estimate, workers = estimator.estimate(problem, params, workers)
    >>> print(f"{estimate.grad:.0f}")  # the gradient is 36: the bias turns its sign
    -2

    **Reference:** Williams, Peng (1990), An efficient gradient-based algorithm for on-line training
    of recurrent network trajectories, Neural Computation 2(4).
    """

    num_workers: int
    window: int
    estimand: ClassVar[str] = "window gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("williams1990",)
