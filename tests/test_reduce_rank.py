"""Sums of outer products are reduced without bias and with the variance of the closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from unspool._reduce_rank import reduce_by_signs
from unspool._small_svd import orthonormalize, small_svd

pytestmark = pytest.mark.usefixtures("float64")

EXACT = 1e-12
# Singular values, terms that are left, and the variance.
CASES = [
    ((5, 3), 1, 30),
    ((1, 1, 1, 1), 3, 4 / 3),
    ((10, 1, 1, 1), 3, 1.5),
    ((3, 2, 1), 1, 22),
    ((5, 4, 3, 2, 1), 2, 57.5),
    ((5, 4, 3, 2, 1), 4, 4),
    ((9, 0.1, 0.1, 0.1, 0), 2, 0.06),
    ((4, 0, 0), 1, 0),
    ((4, 1, 0, 0), 3, 0),
    ((0, 0), 1, 0),
]


def sides(values, seed=0):
    """Terms whose sum has these singular values, but which are not its singular vectors."""
    random = np.random.default_rng(seed)
    count = len(values)
    orthonormal = lambda size: np.linalg.qr(random.normal(size=(size, count)))[0]
    turn = np.linalg.qr(random.normal(size=(count, count)))[0]
    scales = random.uniform(0.5, 2, count)
    left = orthonormal(count + 3) * np.asarray(values, float) @ turn / scales
    right = orthonormal(count + 4) @ turn * scales
    return jnp.asarray(left.T), jnp.asarray(right.T)


def all_signs(count):
    return jnp.array(list(itertools.product([-1.0, 1.0], repeat=count)))


def reduced(values, num_terms, signs, other=None):
    """The matrix, and what is left of it for each row of signs."""
    left, right = sides(values)
    other = signs if other is None else other
    first = lambda signs: reduce_by_signs(left, right, num_terms, signs)[0]
    second = lambda signs: reduce_by_signs(left, right, num_terms, signs)[1]
    found = jnp.einsum("sri,srj->sij", jax.vmap(first)(signs), jax.vmap(second)(other))
    return np.asarray(left.T @ right), np.asarray(found)


@pytest.mark.parametrize(("values", "num_terms", "variance"), CASES)
def test_the_mean_over_all_signs_is_the_sum_and_the_variance_is_the_known_one(
    values, num_terms, variance
):
    whole, found = reduced(values, num_terms, all_signs(len(values)))
    assert np.max(np.abs(found.mean(0) - whole)) < EXACT
    assert np.sum((found - whole) ** 2, axis=(1, 2)).mean() == pytest.approx(variance, abs=EXACT)
    assert unspool.rank_reduction_variance(values, num_terms) == pytest.approx(variance, abs=EXACT)
    ranks = np.linalg.matrix_rank(found)
    assert np.max(ranks) <= num_terms


@pytest.mark.parametrize(("values", "num_terms", "variance"), CASES[:6])
def test_one_sign_that_is_always_the_same_or_wrong_on_one_side_is_a_bias(
    values, num_terms, variance
):
    signs = all_signs(len(values))
    whole, same = reduced(values, num_terms, jnp.ones_like(signs))
    assert np.max(np.abs(same.mean(0) - whole)) > 1e-3
    whole, wrong = reduced(values, num_terms, signs, signs.at[:, -1].multiply(-1))
    assert np.max(np.abs(wrong.mean(0) - whole)) > 1e-3


def test_no_unbiased_sum_of_so_few_terms_has_less_variance():
    """A rank-r matrix has at least the squared nuclear norm of its mean over r for its square."""
    values, num_terms = np.array([3.0, 2.5, 2.0, 1.0]), 2
    bound = values.sum() ** 2 / num_terms - np.sum(values**2)
    assert unspool.rank_reduction_variance(values, num_terms) == pytest.approx(bound)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_comes_back_as_such(bad):
    left, right = sides((5, 4, 3, 2))
    one, two = unspool.reduce_rank(left.at[0, 0].set(bad), right, 3, key=jax.random.key(0))
    assert not np.all(np.isfinite(one.T @ two))


def test_many_random_sums_stay_finite_in_single_precision():
    """Where shares come close to one, rounding must not make a square negative."""
    sums = jax.random.normal(jax.random.key(0), (2000, 2, 5, 7), jnp.float32)
    sums = sums * jnp.logspace(0, -8, 5, dtype=jnp.float32)[None, None, :, None]
    keys = jax.random.split(jax.random.key(1), 2000)
    one, two = jax.vmap(lambda x, key: unspool.reduce_rank(*x, 4, key=key))(sums, keys)
    assert np.all(np.isfinite(one)) and np.all(np.isfinite(two))


def test_sides_may_have_any_axes_and_balance():
    left, right = sides((5, 4, 3, 2))
    left, right = left[:, :6].reshape(4, 2, 3), right[:, :8].reshape(4, 2, 2, 2)
    one, two = unspool.reduce_rank(left, right, 3, key=jax.random.key(0))
    assert one.shape == (3, 2, 3) and two.shape == (3, 2, 2, 2)
    whole = unspool.reduce_rank(left, right, 4, key=jax.random.key(0))
    product = lambda one, two: jnp.einsum("rab,rcde->abcde", one, two)
    assert jnp.allclose(product(*whole), product(left, right))
    assert not jnp.allclose(product(one, two), product(left, right))
    norms = lambda side: jnp.linalg.norm(jax.vmap(jnp.ravel)(side), axis=1)
    assert jnp.allclose(norms(one), norms(two))


def test_fewer_inputs_than_terms_lose_nothing():
    left, right = jnp.ones((5, 1)), jnp.arange(10.0).reshape(5, 2)
    one, two = unspool.reduce_rank(left, right, 3, key=jax.random.key(0))
    assert one.shape == (3, 1)
    assert jnp.allclose(one.T @ two, left.T @ right)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: unspool.reduce_rank(jnp.ones((2, 1)), jnp.ones((3, 1)), 1, key=None),
            "as many terms, got 2 and 3",
        ),
        (
            lambda: unspool.reduce_rank(jnp.ones((2, 1)), jnp.ones((2, 1)), 0, key=None),
            "num_terms must be an integer of at least 1, got 0",
        ),
        (lambda: unspool.rank_reduction_variance([1.0, -2.0], 1), "negative, got -2"),
        (lambda: unspool.rank_reduction_variance([1.0], -1), "num_terms must be an integer"),
    ],
)
def test_what_cannot_be_reduced_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_factors_are_those_of_lapack(size):
    """Of matrices whose columns differ much, or are sums of others, too."""
    random = np.random.default_rng(size)
    plain = random.normal(size=(20, size, size))
    graded = plain * np.logspace(0, -9, size)
    dependent = plain @ np.diag(np.arange(size) > 0) @ random.normal(size=(size, size))
    for matrices in (plain, graded, dependent):
        left, values, right = jax.vmap(small_svd)(jnp.asarray(matrices))
        assert np.allclose(values, np.linalg.svd(matrices)[1], atol=EXACT)
        restored = jnp.einsum("bij,bj,bkj->bik", left, values, right)
        assert np.allclose(restored, matrices, atol=EXACT)
        basis, triangle = jax.vmap(orthonormalize)(jnp.asarray(matrices))
        assert np.allclose(basis @ triangle, matrices, atol=EXACT)
        # Vectors of the basis are orthogonal, and of length one or zero.
        gram = np.einsum("bji,bjk->bik", basis, basis)
        lengths = np.einsum("bii->bi", gram).round()
        assert np.allclose(gram, np.eye(size) * lengths[:, None], atol=EXACT)
