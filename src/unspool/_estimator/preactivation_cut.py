import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._engine.map_problem import map_problem
from .._immediate import ImmediateJacobian, Telling, gather_gradient, told_in
from .cut import AbstractCut
from .influence import split_state


class PreactivationCut(AbstractCut):
    r"""A cut at the preactivations of all layers: $z = \Theta v$, as in a recurrent net.

    $$ \frac{\partial z}{\partial \Theta} = I \otimes v^\top, \qquad
       \frac{\partial s}{\partial \Theta} = \mathbb{E} \Big[
       \Big( \frac{\partial s}{\partial z} Q u \Big) \otimes (Q^{-\top} u) \otimes v \Big] $$

    Noise passes through the nonlinearity, so that units which are saturated get little of it. The
    products with vectors are found as for `KFRTRL`, and cost a tangent for each preactivation.
    PreUORO, which draws no noise for preactivations but keeps a derivative for each of them, is
    `KFRTRL`.

    **Arguments:**

    - `matrix`: $Q$, as of `StateCut`, with a row for each preactivation: of the layers of starts
      first, and then of those of steps, in the order of the parameters.

    **Raises:** `ValueError` for a matrix that is not square, finite and invertible; and, with a
    problem, where a matrix of the parameters enters the state otherwise than by products with
    vectors.

    **Example:**

    >>> problem = unspool.problems.RandomNet(horizon=3)
    >>> estimator = unspool.UORO(num_workers=4, window=3, cut=unspool.PreactivationCut())
    >>> unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100).passed
    True
    """

    def view(self, engine):
        return map_problem(engine, lambda problem: Telling(problem, ImmediateJacobian()))

    def variable(self, state, params):
        num_workers = jax.tree.leaves(state)[0].shape[0]
        kind = rows.ravel(rows.widen(state))[0].dtype
        zeros = [jnp.zeros(layer.num_outputs, kind) for layer in told_in(state).layers]
        return rows.repeat(tuple(zeros), num_workers)

    def split(self, step, spread, gathered, params):
        def one(after, told, spread, gathered):
            _, unravel = rows.ravel(after)
            moved = jnp.concatenate(spread) @ jnp.concatenate(told.facts)
            blocks = map(jnp.outer, gathered, told.inputs)
            return unravel(moved), gather_gradient(told.layers, list(blocks), params)

        state, _ = split_state(step.after)
        return jax.vmap(one)(state, told_in(step.after), spread, gathered)
