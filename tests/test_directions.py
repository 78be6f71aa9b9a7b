"""Directions that are drawn together: each by itself is normal, and together they are better."""

import functools as ft

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import optax
import pytest

import unspool
from support.exact import polynomial
from support.slow import slow
from unspool import extend, problems
from unspool._estimator.lattice_directions import _lattice_steps

KEY = jax.random.key(0)


def draw(directions, size, count, pairs=1, block=0, around=1000):
    """The directions of so many pairs in all, `pairs` at a time, of a vector of `size`."""

    @jax.jit
    def draw_all(numbers):
        one = lambda numbers: directions.draw(
            jnp.zeros(size), extend.Draw(KEY, numbers, jnp.array(block), around)
        )
        return jax.vmap(one)(numbers)

    return np.asarray(draw_all(jnp.arange(count).reshape(-1, pairs)), float).reshape(count, size)


KINDS = {
    "independent": (unspool.GaussianDirections(), 3),
    "orthogonal": (unspool.OrthogonalDirections(3), 5),
    "as many as parameters": (unspool.OrthogonalDirections(4), 4),
    "a lattice on a line": (unspool.LatticeDirections(), 1),
    "a lattice in a plane": (unspool.LatticeDirections(), 2),
    "a lattice in space": (unspool.LatticeDirections(), 3),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_direction_is_standard_normal(name):
    """Its moments, and those it has with itself in another block."""
    directions, size = KINDS[name]
    count = 30_000
    # Rounds of one: across them nothing is coupled, and means have the error of independent ones.
    first, other = (draw(directions, size, count, block=b, around=1) for b in (0, 1))
    if isinstance(directions, unspool.OrthogonalDirections):
        cohort = directions.size
        first, other = first[::cohort], other[::cohort]
    error = 4.5 / len(first) ** 0.5
    assert np.max(np.abs(first.mean(0))) < error
    assert np.max(np.abs(first.T @ first / len(first) - np.eye(size))) < 2**0.5 * error
    assert np.max(np.abs(first.T @ other / len(first))) < error
    for power, moment in ((3, 0), (4, 3), (6, 15)):
        spread = np.std(first**power) / len(first) ** 0.5
        assert np.max(np.abs((first**power).mean(0) - moment)) < 4.5 * spread, power


def test_cohorts_are_at_right_angles_however_they_are_dealt_out():
    directions = unspool.OrthogonalDirections(4)
    drawn = draw(directions, 6, 24)
    for cohort in drawn.reshape(6, 4, 6):
        products = cohort @ cohort.T
        np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-5)
    assert len(np.unique(np.round(drawn, 4))) == drawn.size
    for pairs in (2, 4, 8, 12):
        np.testing.assert_allclose(draw(directions, 6, 24, pairs), drawn, rtol=1e-5, atol=1e-6)


def linear_estimates(drawn, group):
    """Estimates of the gradient of a linear loss by means over so many directions."""
    gradient = np.arange(1.0, drawn.shape[1] + 1)
    gradient /= np.linalg.norm(gradient)
    each = drawn * (drawn @ gradient)[:, None]
    return each.reshape(-1, group, drawn.shape[1]).mean(1) - gradient


@pytest.mark.parametrize("cohort", [1, 2, 5])
def test_cohorts_have_the_variance_of_the_closed_form(cohort):
    """(P + 2 - c) / (P + 1) of that of independent directions, which (P + 1) / c is."""
    size = 5
    drawn = draw(unspool.OrthogonalDirections(cohort), size, 40_000)
    squares = np.sum(linear_estimates(drawn, cohort) ** 2, axis=1) * cohort / (size + 1)
    error = np.std(squares) / len(squares) ** 0.5
    assert abs(squares.mean() - (size + 2 - cohort) / (size + 1)) < 4.5 * error
    # What else it might be is further away than that.
    assert cohort == 1 or abs(squares.mean() - 1) > 9 * error


def test_a_lattice_on_a_line_has_the_variance_of_its_fourier_series():
    """Of a mean over N points it is the power of each frequency times that of the N points."""
    around, rounds = 20, 4000
    drawn = draw(unspool.LatticeDirections(), 1, around * rounds, around=around)
    means = linear_estimates(drawn, around)[:, 0]
    nodes = 2**17
    series = (
        np.fft.fft(np.asarray(jsp.stats.norm.ppf((np.arange(nodes) + 0.5) / nodes)) ** 2) / nodes
    )
    frequencies = np.fft.fftfreq(nodes, 1 / nodes)
    step = _lattice_steps(1)[0] / 2**32
    powers = (
        np.abs(np.exp(2j * np.pi * np.outer(frequencies, np.arange(around)) * step).mean(1)) ** 2
    )
    expected = np.sum((np.abs(series) ** 2 * powers)[1:])
    error = np.std(means**2) / rounds**0.5
    assert abs(np.mean(means**2) - expected) < 4.5 * error
    assert expected < 0.2 * 2 / around


@pytest.mark.parametrize("size", [2, 3])
def test_a_lattice_beats_independent_directions(size):
    around, rounds = 50, 1000
    ratio = {}
    for directions in (unspool.LatticeDirections(), unspool.GaussianDirections()):
        drawn = draw(directions, size, around * rounds, around=around)
        ratio[directions] = (
            np.mean(linear_estimates(drawn, around) ** 2) * around * size / (size + 1)
        )
    lattice, independent = ratio.values()
    # No direction of the mean has squares that vary by more than twice their mean.
    error = 4.5 * 2 / rounds**0.5
    assert abs(independent - 1) < error and lattice < 1 - error


class WithoutSign(unspool.LatticeDirections):
    """A half plane: the mean of a direction is not zero."""

    def draw(self, params, draw):
        drawn = super().draw(params, draw)
        leaves = jnp.stack(jax.tree.leaves(drawn), axis=-1)
        sign = jnp.where(leaves[:, 1] < 0, -1.0, 1.0)
        return jax.tree.map(lambda x: x * sign, drawn)


LATTICE, PAIR = unspool.LatticeDirections(), unspool.OrthogonalDirections(2)
ONE, INDEPENDENT = unspool.WindowGradientControl(), unspool.GaussianDirections()
ESTIMATORS = {
    "NRES": unspool.NRES(4, 3, 0.1, directions=LATTICE),
    "PES": unspool.PES(4, 3, 0.1, directions=LATTICE),
    "GPES": unspool.GPES(4, 3, 6, 0.1, directions=LATTICE),
    "ControlledGPES": unspool.ControlledGPES(4, 3, 3, 0.1, control=ONE, directions=LATTICE),
    "DODGE": unspool.DODGE(4, 3, directions=LATTICE),
    "PES by default": unspool.PES(20, 3, 0.1),
    "orthogonal PES": unspool.PES(4, 3, 0.1, directions=PAIR),
    "orthogonal pairs of a group": unspool.NRES(4, 3, 0.1, directions=PAIR, pairs_per_group=2),
}


def exact(estimator):
    problem = problems.Cubic(horizon=12)
    return problem.exact_gradient(problem.init_params(key=KEY), estimator.plan(12).target)


@pytest.mark.parametrize(
    "name", [slow(name, when=name not in ("PES by default", "DODGE")) for name in ESTIMATORS]
)
def test_the_mean_is_that_of_independent_directions(name, float64):
    estimator, problem = ESTIMATORS[name], problems.Cubic(horizon=12)
    result = unspool.check_unbiased(
        problem, estimator, key=KEY, reference=exact(estimator), num_chains=500, level=1e-4
    )
    assert result.passed, result


def test_a_lattice_of_half_planes_needs_its_sign(float64):
    """`NRES` does not feel it; sums of scores do."""
    estimator = unspool.PES(4, 3, 0.1, directions=WithoutSign())
    result = unspool.check_unbiased(
        problems.Cubic(horizon=12), estimator, key=KEY, reference=exact(estimator), num_chains=500
    )
    assert result.verdict == "biased"


def test_directions_in_memory_are_those_that_are_drawn():
    problem = problems.Cubic(horizon=12)
    params = problem.init_params(key=KEY)
    found = []
    for keep in (True, False):
        directions = unspool.OrthogonalDirections(2, keep=keep)
        estimator = unspool.NRES(4, 3, 0.1, directions=directions)
        state = estimator.init(problem, params, key=KEY)
        assert (state[0].carried.cache is not None) == keep
        for _ in range(9):
            estimate, state = estimator.estimate(problem, params, state)
            found.append(estimate.grad)
    for kept, drawn in zip(found[:9], found[9:], strict=True):
        jax.tree.map(ft.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), kept, drawn)


CHOICES = {
    (1, 20): LATTICE,
    (3, 100): LATTICE,
    (2, 19): INDEPENDENT,
    (6, 18): INDEPENDENT,
    (6, 48): unspool.OrthogonalDirections(6, keep=True),
    (6, 100): unspool.OrthogonalDirections(5, keep=True),
    (20, 100): unspool.OrthogonalDirections(20, keep=True),
    (21, 100): INDEPENDENT,
    (10, 101): INDEPENDENT,
    (0, 100): INDEPENDENT,
    (6, 48, 4): unspool.OrthogonalDirections(4, keep=True),
    (2, 24, 4): LATTICE,
    (2, 12, 4): unspool.OrthogonalDirections(2, keep=True),
    # Fresh noise for each window would take a cohort for each window.
    (10, 100, 1, False): INDEPENDENT,
    (2, 100, 1, False): LATTICE,
    # Within a group all is read before anything is deposited.
    (2, 100, 1, True, True): INDEPENDENT,
    (2, 12, 4, True, True): unspool.OrthogonalDirections(2, keep=True),
    (6, 12, 4, True, True): unspool.OrthogonalDirections(4, keep=True),
    (6, 12, 1, True, True): INDEPENDENT,
}


@pytest.mark.parametrize("use", CHOICES)
def test_what_is_drawn_by_default(use):
    chosen = unspool.AutomaticDirections().choose(extend.Use(*use))
    assert chosen == CHOICES[use]
    chosen.check(use[0], *use[2:3] or (1,))
    assert not (use[4:] == (True,) and chosen.couples_episodes(use[2]))


def estimates(estimator, problem, num_estimates=3):
    params = problem.init_params(key=KEY)
    state = estimator.init(problem, params, key=KEY)
    found = []
    for _ in range(num_estimates):
        estimate, state = estimator.estimate(problem, params, state)
        found += jax.tree.leaves(estimate.grad)
    return np.concatenate([np.ravel(x) for x in found])


@pytest.mark.parametrize(
    ("make", "problem", "directions"),
    [
        (unspool.NRES, problems.Cubic(horizon=12), LATTICE),
        slow(unspool.PES, problems.Cubic(horizon=12), LATTICE),
        (unspool.NRES, problems.LinearQuadratic(), unspool.OrthogonalDirections(4, keep=True)),
        (unspool.PES, problems.LinearQuadratic(), INDEPENDENT),
        (unspool.ControlledNRES, problems.Cubic(horizon=12), INDEPENDENT),
    ],
)
def test_an_estimator_draws_what_is_chosen_for_its_parameters(make, problem, directions):
    by_default, named = make(20, 3, 0.1), make(20, 3, 0.1, directions=directions)
    np.testing.assert_array_equal(estimates(by_default, problem), estimates(named, problem))


def misses(num_workers, directions, count=2000, num_updates=24):
    """The mean of what estimates are off by along a training, for each seed and parameter."""
    problem = polynomial(loss=(-1.0, 0.5, 0.0))  # No noise moves its gradient.

    def total(params):
        def step(state, t):
            return problem.step(params, state, t, key=None)

        start = problem.init_state(params, key=None)
        return jnp.mean(jax.lax.scan(step, start, jnp.arange(problem.horizon))[1])

    estimator = unspool.NRES(num_workers, 2, 0.3, directions=directions)
    init, step = unspool.make_step(problem, estimator, optax.sgd(0.01))

    def train(key):
        def update(state, _):
            after, estimate = step(state)
            exact = jax.grad(total)(state.params)
            return after, (jax.tree.map(jnp.subtract, estimate.grad, exact), exact)

        state = init(problem.init_params(key=KEY), key=key)
        found = jax.lax.scan(update, state, length=num_updates)[1]
        return jax.tree.map(jnp.mean, found)

    found = jax.jit(jax.vmap(train))(jax.random.split(KEY, count))
    return [np.stack(jax.tree.leaves(x)) for x in found]


@pytest.mark.slow
def test_directions_that_are_coupled_do_no_harm_along_a_training(float64):
    """Later episodes of a round are not independent of those that have moved the parameters.

    Which is seen with three workers, and no longer with as many as there have to be by default.
    """
    z = {}
    for count in (3, 24):
        (lattice, exact), (independent, _) = (misses(count, x) for x in (LATTICE, INDEPENDENT))
        error = np.sqrt((lattice.var(1) + independent.var(1)) / lattice.shape[1])
        z[count] = np.max(np.abs(lattice.mean(1) - independent.mean(1)) / error)
    assert z[3] > 3.5 and z[24] < 3.5
    # Three errors are two percent of the gradient.
    assert 3 * np.max(error) < 0.025 * np.linalg.norm(exact.mean(1))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            unspool.NRES(4, 3, 0.1, directions=unspool.OrthogonalDirections(3)),
            "size must be at most the number of parameters, 2, got 3; the nearest legal value is 2",
        ),
        (
            unspool.NRES(6, 3, 0.1, directions=PAIR, pairs_per_group=3),
            "size must divide pairs_per_group=3 or be a multiple of it, got 2; the nearest legal "
            "value is 1",
        ),
    ],
)
def test_cohorts_that_cannot_be_are_refused(estimator, message):
    problem = problems.Cubic()
    with pytest.raises(ValueError, match=message):
        estimator.init(problem, problem.init_params(key=KEY), key=KEY)


def test_a_lattice_has_three_parameters_at_most():
    problem = problems.LinearQuadratic()
    estimator = unspool.NRES(4, 3, 0.1, directions=LATTICE)
    with pytest.raises(ValueError, match="at most 3 parameters, got 4"):
        estimator.init(problem, problem.init_params(key=KEY), key=KEY)
