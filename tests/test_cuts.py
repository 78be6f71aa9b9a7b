"""Noise at any place between parameters and state: the mean over all that is drawn, exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.exact import average, error, mean, stack, table
from support.slow import slow
from unspool._estimator import low_rank_uoro, uoro
from unspool._random import Purpose, stream

pytestmark = pytest.mark.usefixtures("float64")

# Where the mean is right, rounding leaves some 1e-15.
EXACT, WRONG = 1e-12, 1e-3
HORIZON, SIZE = 3, 2


class Pair(unspool.AbstractProblem):
    """Two units that start where a parameter says, and a loss of both."""

    weight: jax.Array
    horizon: int = eqx.field(default=HORIZON, static=True)

    def init_params(self, *, key):
        return {"weight": self.weight, "start": jnp.array([0.3])}

    def init_state(self, params, *, key):
        return jnp.tanh(params["start"] * jnp.array([1.0, -2.0]))

    def step(self, params, state, t, *, key):
        state = jnp.tanh(params["weight"] @ state + 0.1)
        return state, jnp.vdot(jnp.array([1.0, 0.5]), state) + state[0] * state[1]

    def total(self, params):
        state, total = self.init_state(params, key=None), 0.0
        for t in range(HORIZON):
            state, loss = self.step(params, state, t, key=None)
            total += loss / HORIZON
        return total


problems = lambda: stack(
    Pair(jnp.array([[0.8, -0.3], [0.4, 0.9]])), Pair(jnp.array([[-0.5, 1.2], [0.7, 0.2]]))
)
SKEW = jnp.array([[1.0, 0.5], [-0.2, 2.0]])


@jax.vmap
def gradient(problem):
    return jax.grad(problem.total)(problem.init_params(key=None))


def step_of(key):
    """The step that a key of a sketch was made for; a start counts as step 0."""
    root = jax.random.key_data(stream(jax.random.key(0), Purpose.NOISE))
    return (jax.random.key_data(key) ^ root)[1]


def mean_of(estimator, monkeypatch, signs, of=average):
    """Over so many signs of the start and of each step but the last, which nothing reads."""
    bits = []

    def look_up_signs(key, like):
        flat, unravel = jax.flatten_util.ravel_pytree(like)
        return unravel(jnp.append(bits[-1], jnp.ones((1, signs)), 0)[step_of(key)][: flat.size])

    def look_up_noise(key, like, num_probes, rank):
        """One probe of signs, or two at right angles."""
        drawn = jnp.append(bits[-1], jnp.ones((1, signs)), 0)[step_of(key)]
        one, other = drawn[:SIZE], drawn[:SIZE] * jnp.array([1.0, -1.0])
        probes = jnp.stack([one, other][:num_probes]) / np.sqrt(num_probes)
        return probes, drawn[SIZE:]

    def rig(entry):
        bits.append(entry)
        return estimator

    monkeypatch.setattr(uoro, "_draw_signs", look_up_signs)
    monkeypatch.setattr(low_rank_uoro, "_draw_noise", look_up_noise)
    return mean(rig, table([-1.0, 1.0], [1.0, 1.0], HORIZON, signs), problems(), of)


CUTS = {
    "state": unspool.StateCut(),
    "state, mixed": unspool.StateCut(SKEW),
    "state, scaled": unspool.StateCut(jnp.array([3.0, 0.2])),
}
TABLES = {
    **{f"UORO, {name}": (unspool.UORO(1, 3, cut=cut), 2) for name, cut in CUTS.items()},
    "UORO, odd window": (unspool.UORO(1, 2, cut=CUTS["state, mixed"]), 2),
    "UORO, parameters": (unspool.UORO(1, 3, cut=unspool.ParameterCut()), 5),
    "UORO, parameters, scaled": (
        unspool.UORO(1, 3, cut=unspool.ParameterCut(jnp.array([1.0, 2.0, 0.5, 3.0, 1.5]))),
        5,
    ),
    "UORO, preactivations": (unspool.UORO(1, 3, cut=unspool.PreactivationCut()), 3),
    "UORO, preactivations, mixed": (
        unspool.UORO(1, 3, cut=unspool.PreactivationCut(jnp.eye(3) + 0.3)),
        3,
    ),
    "one column, one probe": (unspool.LowRankUORO(1, 3, 1, 1), 4),
    "one column, one mixed probe": (unspool.LowRankUORO(1, 3, 1, 1, cut=CUTS["state, mixed"]), 4),
    "one column, two probes": (unspool.LowRankUORO(1, 1, 1, 2), 5),
    "two columns, one probe": (unspool.LowRankUORO(1, 2, 2, 1), 5),
}


@pytest.mark.parametrize(
    "name", [slow(name, when="parameters" in name or "two" in name) for name in TABLES]
)
def test_the_mean_over_all_signs_is_the_gradient(name, monkeypatch):
    estimator, signs = TABLES[name]
    found = mean_of(estimator, monkeypatch, signs)
    assert np.max(error(found, gradient(problems()))) < EXACT


class Unmatched(unspool.StateCut):
    """Mixes the noise of the state, and forgets the inverse for the parameters."""

    def project(self, step, noise, params):
        left, _ = super().project(step, noise, params)
        return left, unspool.StateCut().project(step, noise, params)[1]


def test_a_matrix_on_one_side_alone_is_rejected(monkeypatch):
    found = mean_of(unspool.UORO(1, 3, cut=Unmatched(SKEW)), monkeypatch, 2)
    assert np.min(error(found, gradient(problems()))) > WRONG


def test_probes_that_are_too_long_are_rejected(monkeypatch):
    """For mixing without signs see `test_reduce_rank.py`: here those of the probes would do."""
    push_as_it_is = low_rank_uoro.LowRank.push

    def push(self, sketch, step, keys, params):
        draw = low_rank_uoro._draw_noise

        def distort(*args):
            probes, signs = draw(*args)
            return 1.1 * probes, signs

        with monkeypatch.context() as patch:
            patch.setattr(low_rank_uoro, "_draw_noise", distort)
            return push_as_it_is(self, sketch, step, keys, params)

    monkeypatch.setattr(low_rank_uoro.LowRank, "push", push)
    found = mean_of(unspool.LowRankUORO(1, 3, 1, 1), monkeypatch, 4)
    assert np.min(error(found, gradient(problems()))) > WRONG


class TwoSteps(unspool.AbstractProblem):
    r"""A state $F \theta$, which a step later has the loss $b \cdot s$."""

    influence: jax.Array
    weighing: jax.Array
    horizon: int = eqx.field(default=2, static=True)

    def init_params(self, *, key):
        return jnp.zeros(self.influence.shape[1])

    def init_state(self, params, *, key):
        return jnp.zeros(SIZE)

    def step(self, params, state, t, *, key):
        loss = jnp.where(t == 1, jnp.vdot(self.weighing, state), 0.0)
        return jnp.where(t == 0, self.influence @ params, 0.0), loss


F, B = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 2.0]]), np.array([3.0, -0.4])


def variance(cut, monkeypatch):
    """Of one worker's estimate, over all signs."""
    bits = []
    monkeypatch.setattr(uoro, "_draw_signs", lambda key, like: bits[-1][step_of(key)])

    def rig(entry):
        bits.append(entry)
        return unspool.UORO(1, 2, cut=cut)

    problem = stack(TwoSteps(jnp.asarray(F), jnp.asarray(B)))
    total = lambda windows: jnp.sum(average(windows) ** 2)
    squares = mean(rig, table([-1.0, 1.0], [1.0, 1.0], 3, SIZE), problem, total)
    return float(squares[0] - np.sum((B @ F / 2) ** 2))


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.asarray(SKEW), np.diag([0.3, 2.0]), np.array([[0.0, 1.0], [1.0, 0.0]])]
)
def test_the_variance_of_a_mixed_noise_is_the_closed_form(matrix, monkeypatch):
    r"""With $w = Q^\top b$ and $M = Q^{-1} F$ that of $(w \cdot \nu) M^\top \nu$."""
    w, M = matrix.T @ B, np.linalg.solve(matrix, F)
    rows = np.sum(M**2, axis=1)
    expected = w @ w * rows.sum() + np.sum((w @ M) ** 2) - 2 * w**2 @ rows
    found = variance(unspool.StateCut(jnp.asarray(matrix)), monkeypatch)
    assert 4 * found == pytest.approx(expected, rel=EXACT)


def test_noise_is_best_where_later_losses_depend_on_it_least(monkeypatch):
    r"""By the fourth root of $\operatorname{tr} F F^\top$ over $b^2$, row by row."""
    best = (np.sum(F**2, axis=1) / B**2) ** 0.25
    at = lambda scale: variance(unspool.StateCut(jnp.asarray(best * scale)), monkeypatch)
    least = at(np.ones(2))
    assert least < min(at([1.2, 1.0]), at([1.0, 1.2]))
    assert least < 0.5 * variance(unspool.StateCut(), monkeypatch)


@pytest.mark.parametrize("num_probes", [1, 2, 5])
def test_probes_are_at_right_angles_and_add_up_to_the_identity(num_probes):
    like = {"a": jnp.zeros(3), "b": jnp.zeros((2, 1))}
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = lambda key: low_rank_uoro._draw_noise(key, like, num_probes, 2)
    probes, signs = jax.vmap(draw)(keys)
    flat = np.concatenate([probes["a"], probes["b"][..., 0]], axis=2)
    products = np.einsum("npi,nqi->npq", flat, flat)
    np.testing.assert_allclose(products - 5 / num_probes * np.eye(num_probes), 0, atol=1e-12)
    each = np.einsum("npi,npj->nij", flat, flat)
    errors = each.std(axis=0) / np.sqrt(len(each)) + 1e-12
    assert np.max(np.abs(each.mean(axis=0) - np.eye(5)) / errors) < 4.5
    assert np.max(errors) < 0.03
    assert signs.shape == (4000, 2 + num_probes) and set(np.unique(signs)) == {-1.0, 1.0}


@pytest.mark.slow
def test_as_many_columns_and_probes_as_numbers_in_the_state_are_exact():
    problem = unspool.problems.RandomNet(horizon=4, num_hidden=3, num_inputs=1)
    params = problem.init_params(key=jax.random.key(0))
    found = {}
    for name, estimator in {
        "RTRL": unspool.RTRL(2, 2),
        "full": unspool.LowRankUORO(2, 2, 3, 3),
        "more": unspool.LowRankUORO(2, 2, 4, 5),
        "fewer columns": unspool.LowRankUORO(2, 2, 2, 3),
        "fewer probes": unspool.LowRankUORO(2, 2, 3, 2),
    }.items():
        state = estimator.init(problem, params, key=jax.random.key(1))
        for _ in range(2):
            estimate, state = estimator.estimate(problem, params, state)
        found[name], _ = jax.flatten_util.ravel_pytree(estimate.grad)
    off = {name: np.max(np.abs(grad - found["RTRL"])) for name, grad in found.items()}
    assert max(off["full"], off["more"]) < EXACT
    assert min(off["fewer columns"], off["fewer probes"]) > WRONG


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unspool.StateCut(jnp.ones((2, 3))), r"square, or a diagonal, got .* \(2, 3\)"),
        (lambda: unspool.StateCut(jnp.ones((2, 2))), "matrix must be invertible and finite"),
        (lambda: unspool.ParameterCut(jnp.array([1.0, 0.0])), "must be invertible and finite"),
        (lambda: unspool.LowRankUORO(1, 1, 0), "rank must be an integer of at least 1, got 0"),
        (lambda: unspool.LowRankUORO(1, 1, 1, 0), "num_probes must be .* at least 1, got 0"),
    ],
)
def test_what_no_cut_can_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (unspool.UORO(1, 1, cut=unspool.StateCut(jnp.ones(3))), "matrix must have 2 rows.* got 3"),
        (unspool.UORO(1, 1, cut=unspool.ParameterCut(SKEW)), "matrix must have 5 rows.* got 2"),
    ],
)
def test_a_cut_that_does_not_fit_the_problem_is_refused(estimator, message):
    problem = Pair(jnp.eye(2))
    params = problem.init_params(key=None)
    with pytest.raises(ValueError, match=message):
        state = estimator.init(problem, params, key=jax.random.key(0))
        estimator.estimate(problem, params, state)
