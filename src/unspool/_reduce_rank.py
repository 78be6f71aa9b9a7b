"""Fewer outer products with the same sum in the mean, and the least variance."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._counts import as_count
from ._custom_types import KeyLike, RandomKey
from ._random import as_key
from ._small_svd import orthonormalize, small_svd

Side = Float[Array, "..."]


def reduce_rank(left: Side, right: Side, num_terms: int, *, key: KeyLike) -> tuple[Side, Side]:
    r"""Sum of outer products as a random sum of fewer, with the same mean and the least variance.

    $$ \mathbb{E} \sum_{i=1}^{r} l'_i \otimes r'_i = \sum_{i=1}^{R} l_i \otimes r_i $$

    The sum is a matrix with singular values $d_1 \ge d_2 \ge \ldots$. The largest of them are kept
    as they are; those that are left share the remaining terms by random signs, each with a part
    in proportion to its size. No unbiased sum of $r$ outer products has a smaller total variance,
    which `rank_reduction_variance` knows. Where the matrix has a rank of $r$ or less, nothing is
    lost.

    **Arguments:**

    - `left`, `right`: the $R$ terms along the first axis of each; other axes may be any.
    - `num_terms`: how many are wanted, at least 1.
    - `key`: the randomness of the signs.

    **Returns:** the $r$ left and the $r$ right sides. Both have the same norms, term by term.

    **Raises:** `ValueError` for a count below 1, or sides with different numbers of terms.

    **Example:**

    >>> left, right = jnp.diag(jnp.array([5.0, 3.0])), jnp.eye(2)
    >>> left, right = unspool.reduce_rank(left, right, 1, key=jax.random.key(0))
    >>> print(jnp.abs(left.T @ right).round(2))  # signs are random off the diagonal
    [[5.   3.87]
     [3.87 3.  ]]

    **Reference:** Benzing, Gauy, Mujika, Martinsson, Steger (2019), Optimal Kronecker-sum
    approximation of real time recurrent learning, arXiv 1902.03993.
    """
    num_terms = as_count("num_terms", num_terms, least=1)
    if len(left) != len(right):
        raise ValueError(
            f"left and right must have as many terms, got {len(left)} and {len(right)}"
        )
    return reduce_by_signs(left, right, num_terms, draw_signs(as_key(key), len(left)))


def rank_reduction_variance(singular_values: Iterable[Any], num_terms: int) -> float:
    r"""Total variance that `reduce_rank` adds to a matrix: the least of any unbiased reduction.

    $$ \frac{\big( \sum_{i > m} d_i \big)^2}{r - m} - \sum_{i > m} d_i^2 $$

    with $m$ the fewest of the largest singular values for which $(r - m)\, d_{m+1} \le
    \sum_{i > m} d_i$; these are kept as they are.

    **Arguments:**

    - `singular_values`: of the matrix, in any order, none of them negative.
    - `num_terms`: $r$, how many outer products are left, at least 1.

    **Returns:** the expected squared Frobenius norm of the error, as a float.

    **Raises:** `ValueError` for a count below 1, or a negative value.

    **Example:**

    >>> unspool.rank_reduction_variance([5.0, 3.0], num_terms=1)
    30.0
    >>> unspool.rank_reduction_variance([10.0, 1.0, 1.0, 1.0], num_terms=3)
    1.5
    """
    num_terms = as_count("num_terms", num_terms, least=1)
    values = np.sort(np.array(list(singular_values), np.float64))[::-1]
    if np.any(values < 0):
        raise ValueError(f"singular_values must not be negative, got {values.min()}")
    if num_terms >= len(values):
        return 0.0
    rest = np.cumsum(values[::-1])[::-1]
    kept = next(m for m in range(num_terms) if (num_terms - m) * values[m] <= rest[m])
    return float(rest[kept] ** 2 / (num_terms - kept) - np.sum(values[kept:] ** 2))


def draw_signs(key: RandomKey, count: int) -> Float[Array, " count"]:
    """Plus or minus one, independently."""
    return jax.random.rademacher(key, (count,), jnp.result_type(float))


def reduce_by_signs(
    left: Side, right: Side, num_terms: int, signs: Float[Array, " signs"]
) -> tuple[Side, Side]:
    """`reduce_rank`, given its signs, of which there is one for each term that comes in."""
    columns = lambda side: jax.vmap(jnp.ravel)(side).T
    left_basis, left_part = orthonormalize(columns(left))
    right_basis, right_part = orthonormalize(columns(right))
    left_turn, values, right_turn = small_svd(left_part @ right_part.T)
    # What rounding leaves of a value that is zero would be felt as its square root.
    least = 8 * jnp.finfo(values.dtype).eps * values[0]
    values = jnp.where(values > least, values, 0)
    mixing = _mix(values, num_terms, signs)
    restore = lambda terms, side: terms.T.reshape(num_terms, *side.shape[1:]).astype(side.dtype)
    return (
        restore(left_basis @ left_turn @ mixing, left),
        restore(right_basis @ right_turn @ mixing, right),
    )


def _mix(values: Array, num_terms: int, signs: Array) -> Float[Array, "values terms"]:
    """A random matrix of so many columns whose product with its transpose has the mean
    `diag(values)`, for values that fall.

    Its rows are those of a matrix of orthonormal columns, scaled and with random signs. A squared
    norm of one keeps a value as it is.
    """
    if len(values) <= num_terms:
        return jnp.pad(jnp.diag(jnp.sqrt(values)), ((0, 0), (0, num_terms - len(values))))
    shares = _share(values, num_terms)
    scales = jnp.sqrt(values / jnp.where(shares > 0, shares, 1))
    return (signs * scales)[:, None] * _orthonormal(shares, num_terms)


def _share(values: Array, num_terms: int) -> Float[Array, " values"]:
    """The shares of falling values in `num_terms`: in proportion to their size, but one at most."""
    rest = jnp.cumsum(values[::-1])[::-1][:num_terms]
    left = num_terms - jnp.arange(num_terms)
    kept = jnp.argmax(left * values[:num_terms] <= rest)
    share = left[kept] * values / jnp.where(rest[kept] > 0, rest[kept], 1)
    return jnp.where(jnp.arange(len(values)) < kept, 1.0, jnp.minimum(share, 1.0))


def _orthonormal(shares: Array, num_terms: int) -> Float[Array, "shares terms"]:
    """Orthonormal columns with rows of these squared norms, whose sum is an integer.

    One after the other, the row that is open takes up another one's square. Up to one, both are
    parts of a single row. Above it they are turned out of two that are orthogonal: a unit vector
    of their own, and the row that stays open with what is left.
    """

    def take_up(carry, share):
        open_square, num_units = carry
        both = open_square + share
        full = both > 1
        turned = jnp.where(full, 1 - open_square, open_square)
        whole = jnp.where(full, 2 - both, both)
        square = jnp.clip(turned / jnp.where(whole > 0, whole, 1), 0, 1)
        unit = jnp.where(full, num_units, num_terms)
        return (jnp.where(full, both - 1, both), num_units + full), (square, unit)

    def turn_back(open_row, taken):
        square, unit = taken
        cosine, sine = jnp.sqrt(1 - square), jnp.sqrt(square)
        # Beyond the last unit vector there is zero.
        unit = jax.nn.one_hot(unit, num_terms, dtype=shares.dtype)
        return cosine * unit + sine * open_row, cosine * open_row - sine * unit

    start = shares[0], jnp.zeros((), int)
    (_, num_units), taken = jax.lax.scan(take_up, start, shares[1:])
    last = jax.nn.one_hot(num_units, num_terms, dtype=shares.dtype)
    first, others = jax.lax.scan(turn_back, last, taken, reverse=True)
    return jnp.concatenate([jnp.stack([first]), others])
