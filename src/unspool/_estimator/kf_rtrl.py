from typing import ClassVar

import jax.numpy as jnp

from .influence import AbstractInfluence, AbstractSketch
from .kronecker import AbstractReduction, KroneckerSum, Terms

_TINY = 1e-7


class RandomSum(AbstractReduction):
    """Two products as the product of two random sums, whose sides have the same norms."""

    num_terms: ClassVar[int] = 1

    def reduce(self, terms, signs):
        (old, new), (carried, newest) = terms
        keep, add = _balance(old, carried), _balance(new, newest)
        # Two signs, one for each product, matter by their product alone.
        sign = signs[0] * signs[1]
        return Terms(
            jnp.stack([keep * old + sign * add * new]),
            jnp.stack([carried / keep + sign * newest / add]),
        )


def _balance(left, right):
    """The factor that gives both sides of a product the same norm; one if both are zero."""
    return jnp.sqrt((jnp.linalg.norm(right) + _TINY) / (jnp.linalg.norm(left) + _TINY))


class KFRTRL(AbstractInfluence):
    r"""Kronecker-factored RTRL: the influence of a layer as one random Kronecker product.

    $$ \tilde G = u \otimes M, \qquad
       u \leftarrow p_0 u + c \, p_1 v, \qquad
       M \leftarrow \frac{1}{p_0} \frac{\partial s_{t+1}}{\partial s_t} M +
       \frac{c}{p_1} \frac{\partial s_{t+1}}{\partial p} $$

    where a layer's preactivation is its matrix times $v$, with random signs $c$ and factors $p$
    that balance norms. Each step's gradient uses the sketch that comes in, and the step's own
    derivative exactly. `PreUORO` of Cooijmans and Martens is the same.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | gradient | a state per preactivation | $N W$, a tangent per preactivation | both modes |

    Prefer it to `UORO` for recurrent nets, whose noise is about as many times less as there are
    preactivations, and `OK` for less noise still. Layers are found by themselves:
    [recurrent nets](recurrent.md) says how a step must be written.

    **Arguments:**

    - `num_workers`: trajectories, each with signs of its own, spread over the episode.
    - `window`: steps between estimates.

    **Raises:** `ValueError` for a count below 1; and, with a problem, where a matrix of the
    parameters enters the state otherwise than by products with vectors.

    **Example:**

    >>> problem = unspool.problems.CopyTask()
    >>> estimator = unspool.KFRTRL(num_workers=16, window=1)
    >>> init, step = unspool.make_step(problem, estimator, optax.adam(0.01))
    >>> estimator.plan(problem.horizon).num_steps  # 16 workers, a window
    16

    **Reference:** Mujika, Meier, Steger (2018), Approximating real-time recurrent learning with
    random Kronecker factors, arXiv 1805.10842.
    """

    num_workers: int
    window: int
    estimand: ClassVar[str] = "gradient"
    needs_derivatives: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("mujika2018",)

    @property
    def sketch(self) -> AbstractSketch:
        return KroneckerSum(RandomSum())
