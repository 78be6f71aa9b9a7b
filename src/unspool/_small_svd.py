"""Factors of matrices with few columns, by operations that XLA compiles.

Not those of LAPACK: with jaxlib 0.10 two batches of them at once can wait for ever for the two
threads of a small processor that they hold themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_NUM_SWEEPS = 10
"""Rotations of every pair of columns. They converge quadratically, and eight are enough for 17
columns in double precision."""


def orthonormalize(
    matrix: Float[Array, "rows columns"],
) -> tuple[Float[Array, "rows columns"], Float[Array, "columns columns"]]:
    """A basis of the columns, and the triangle of which it makes the matrix.

    Where a column is a sum of those before it but for rounding, that of the basis is zero.
    Gram and Schmidt, twice.
    """
    size = matrix.shape[1]
    least = 8 * jnp.finfo(matrix.dtype).eps

    def add(basis, column):
        index, vector = column
        first = basis.T @ vector
        rest = vector - basis @ first
        second = basis.T @ rest
        rest = rest - basis @ second
        length = jnp.linalg.norm(rest)
        length = jnp.where(length > least * jnp.linalg.norm(vector), length, 0)
        unit = rest / jnp.where(length == 0, jnp.inf, length)
        return basis.at[:, index].set(unit), (first + second).at[index].set(length)

    basis, triangle = jax.lax.scan(add, jnp.zeros_like(matrix), (jnp.arange(size), matrix.T))
    return basis, triangle.T


def small_svd(
    matrix: Float[Array, "rows columns"],
) -> tuple[Float[Array, "rows columns"], Float[Array, " columns"], Float[Array, "columns columns"]]:
    r"""Left vectors $U$, falling singular values $d$ and right vectors $V$: the matrix is
    $U \, \mathrm{diag}(d) \, V^\top$.

    Left vectors of values that are zero are zero. Columns are rotated until they are orthogonal
    (Hestenes, 1958), in disjoint pairs at a time.
    """
    num_rows, size = matrix.shape
    count = size + size % 2
    columns = jnp.pad(matrix, ((0, 0), (0, count - size)))
    start = jnp.concatenate([columns, jnp.eye(count, dtype=matrix.dtype)])

    def rotate(columns, pair):
        one, two = columns[:, pair[0]], columns[:, pair[1]]
        cosine, sine = _angle(one[:num_rows], two[:num_rows])
        columns = columns.at[:, pair[0]].set(one * cosine[None] - two * sine[None])
        return columns.at[:, pair[1]].set(one * sine[None] + two * cosine[None]), None

    rounds = jnp.asarray(np.tile(_rounds(count), (_NUM_SWEEPS, 1, 1)))
    columns, _ = jax.lax.scan(rotate, start, rounds)
    values = jnp.linalg.norm(columns[:num_rows], axis=0)
    order = jnp.argsort(-values)[:size]
    values, columns = values[order], columns[:, order]
    left = columns[:num_rows] / jnp.where(values == 0, jnp.inf, values)[None]
    return left, values, columns[num_rows : num_rows + size]


def _angle(one: Array, two: Array) -> tuple[Array, Array]:
    """Cosines and sines of the rotations that make pairs of columns orthogonal."""
    first, second = jnp.sum(one**2, axis=0), jnp.sum(two**2, axis=0)
    product = jnp.sum(one * two, axis=0)
    is_right = jnp.abs(product) <= jnp.finfo(one.dtype).eps * jnp.sqrt(first * second)
    ratio = (second - first) / jnp.where(is_right, 1, 2 * product)
    sign = jnp.where(ratio < 0, -1, 1)
    tangent = jnp.where(is_right, 0, sign / (jnp.abs(ratio) + jnp.sqrt(1 + ratio**2)))
    cosine = 1 / jnp.sqrt(1 + tangent**2)
    return cosine, cosine * tangent


def _rounds(count: int) -> Int[np.ndarray, "rounds two pairs"]:
    """A tournament: rounds of pairs in which everyone meets everyone once."""
    players = list(range(count))
    rounds = []
    for _ in range(count - 1):
        rounds.append([players[: count // 2], players[: count // 2 - 1 : -1]])
        players = [players[0], players[-1], *players[1:-1]]
    return np.array(rounds)
