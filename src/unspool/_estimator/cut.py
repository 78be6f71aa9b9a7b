"""Places between parameters and state where noise stands for a step's immediate Jacobian."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .. import _rows as rows
from .._custom_types import Params
from .._engine import AbstractEngine
from .influence import LinearStep, WorkerTree

Matrix = Float[np.ndarray, "size size"] | Float[np.ndarray, " size"]


def as_matrix(matrix: Any) -> Any:
    """A constant of NumPy, of what is square or a diagonal and invertible; `None` as it is."""
    if matrix is None:
        return None
    matrix = np.asarray(matrix, np.float64)
    shape = matrix.shape
    if len(shape) not in (1, 2) or shape[0] != shape[-1]:
        raise ValueError(f"matrix must be square, or a diagonal, got the shape {shape}")
    full = np.diag(matrix) if len(shape) == 1 else matrix
    if not np.all(np.isfinite(full)) or np.linalg.matrix_rank(full) < shape[0]:
        raise ValueError(f"matrix must be invertible and finite, got {matrix.tolist()}")
    return matrix


class AbstractCut(eqx.Module):
    r"""A variable $z$ between the parameters and the state, at which their derivative is cut.

    $$ \frac{\partial s}{\partial \theta} = \mathbb{E} \Big[
       \Big( \frac{\partial s}{\partial z} Q u \Big)
       \Big( u^\top Q^{-1} \frac{\partial z}{\partial \theta} \Big) \Big]
       \quad \text{for noise } u \text{ with } \mathbb{E}\, u u^\top = I $$

    Any invertible $Q$ that does not depend on $u$ leaves the mean as it is and changes the
    variance. `matrix` is $Q$, for the entries of $z$ leaf after leaf: square, or the diagonal of
    a diagonal one; `None` is the identity.
    """

    matrix: Matrix | None = eqx.field(default=None, converter=as_matrix)

    def view(self, engine: AbstractEngine) -> AbstractEngine:
        """The engine, with states that tell of steps what this cut must know of them."""
        return engine

    @abc.abstractmethod
    def variable(self, state: WorkerTree, params: WorkerTree) -> WorkerTree:
        """A tree like the variable that is cut."""

    @abc.abstractmethod
    def split(
        self, step: LinearStep, spread: WorkerTree, gathered: WorkerTree, params: Params
    ) -> tuple[WorkerTree, WorkerTree]:
        r"""Both factors: the left one, like the state, of $Q u$, and the right one, like the
        parameters, of $Q^{-\top} u$."""

    def project(
        self, step: LinearStep, noise: WorkerTree, params: Params
    ) -> tuple[WorkerTree, WorkerTree]:
        """Two factors whose product has the step's immediate Jacobian for its mean."""
        spread, gathered = jax.vmap(self._spread)(noise), jax.vmap(self._gather)(noise)
        return self.split(step, spread, gathered, params)

    def _spread(self, noise):
        return self._mix(noise, self.matrix)

    def _gather(self, noise):
        matrix = self.matrix
        if matrix is None or matrix.ndim == 1:
            return self._mix(noise, None if matrix is None else 1 / matrix)
        # A constant where it is known; a program that takes it as an argument inverts it itself.
        linalg = np.linalg if isinstance(matrix, np.ndarray) else jnp.linalg
        return self._mix(noise, linalg.inv(matrix).T)

    def _mix(self, noise, matrix):
        if matrix is None:
            return noise
        flat, unravel = rows.ravel(noise)
        if len(matrix) != flat.size:
            raise ValueError(
                f"matrix must have {flat.size} rows, one for each entry of the variable of "
                f"{type(self).__name__}, got {len(matrix)}"
            )
        matrix = jnp.asarray(matrix, flat.dtype)
        return unravel(matrix * flat if matrix.ndim == 1 else matrix @ flat)


class StateCut(AbstractCut):
    r"""A cut at the new state: $z = s$, so that there are as many noises as numbers in it.

    That of the published UORO, with one backward pass of a step for each noise.

    **Arguments:**

    - `matrix`: $Q$, square, or the diagonal of a diagonal one; by default the identity. Large
      entries suit what later losses depend on least: where parameters move all entries alike,
      $Q = B^{-1/4}$ has the least variance, with $B$ the second moment of the gradients of later
      losses with respect to the state.

    **Raises:** `ValueError` for a matrix that is not square, finite and invertible.

    **Example:**

    >>> cut = unspool.StateCut(jnp.array([1.0, 2.0, 4.0]))
    >>> estimator = unspool.UORO(num_workers=4, window=3, cut=cut)
    >>> problem = unspool.problems.LinearQuadratic()
    >>> unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100).passed
    True
    """

    def variable(self, state, params):
        return state

    def split(self, step, spread, gathered, params):
        _, right = step.backward(gathered, None)
        return spread, right


class ParameterCut(AbstractCut):
    r"""A cut at the parameters themselves: $z = \theta$, and no backward pass.

    Noise is added to the parameters anew in every step, as by `DODGE` with a period of one step,
    but for the newest step, whose derivative is exact. Prefer `StateCut` where there are fewer
    numbers in the state than parameters: on `problems.RandomNet`, with 6 and 60, this one has ten
    times the variance.

    **Arguments:**

    - `matrix`: $Q$, as of `StateCut`, with a row for each parameter.

    **Raises:** `ValueError` for a matrix that is not square, finite and invertible.

    **Example:**

    >>> estimator = unspool.UORO(num_workers=4, window=3, cut=unspool.ParameterCut())
    >>> problem = unspool.problems.LinearQuadratic()
    >>> unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100).passed
    True
    """

    def variable(self, state, params):
        return params

    def split(self, step, spread, gathered, params):
        return step.forward(None, spread), gathered
