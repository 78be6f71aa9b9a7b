"""Groups of antithetic pairs that share clock, keys and data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import problems

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
CUBIC, EARLY = problems.Cubic(horizon=12), problems.EarlyEnd()
ESTIMATORS = {
    "NRES": unspool.NRES(4, 3, 0.1, pairs_per_group=2),
    "PES": unspool.PES(6, 3, 0.1, pairs_per_group=3),
    "GPES": unspool.GPES(4, 6, 2, 0.1, pairs_per_group=2),
    "ESSingle": unspool.ESSingle(4, 3, 0.1, pairs_per_group=4),
    "FullES": unspool.FullES(4, 0.1, pairs_per_group=2),
    "TruncatedES": unspool.TruncatedES(4, 3, 0.1, pairs_per_group=2),
    "ControlledGPES": unspool.ControlledGPES(4, 3, 3, 0.1, pairs_per_group=2),
    "Chunked": unspool.Chunked(unspool.NRES(8, 3, 0.1, pairs_per_group=2), 4),
}
CASES = [(name, problem) for name in ESTIMATORS for problem in (CUBIC, EARLY)]
QUICK = [("PES", CUBIC), ("ControlledGPES", CUBIC), ("NRES", EARLY)]


@pytest.mark.parametrize(
    ("name", "problem"), [slow(*case, when=case not in QUICK, id=str(case)) for case in CASES]
)
def test_the_mean_is_that_of_pairs_by_themselves(name, problem):
    estimator, params = ESTIMATORS[name], problem.init_params(key=KEY)
    reference = problem.exact_gradient(params, estimator.plan(problem.horizon).target)
    options = {"key": KEY, "reference": reference, "num_chains": 500, "level": 1e-4}
    result = unspool.check_unbiased(problem, estimator, **options)
    assert result.passed, result


class Data(unspool.AbstractProblem):
    """A loss of the episode's data and of each parameter apart, which fails above a bound."""

    horizon: int = 6
    bound: float = 1e9

    def init_params(self, *, key):
        return jnp.array([0.0, 0.0])

    def init_state(self, params, *, key):
        return jax.random.normal(key)

    def step(self, params, state, t, *, key):
        loss = state + params[0] + 2 * params[1] ** 2
        return state, jnp.where(params[0] > self.bound, jnp.nan, loss)


def run(estimator, problem, num_estimates, key=KEY):
    params, found = problem.init_params(key=key), []
    state = estimator.init(problem, params, key=key)
    for _ in range(num_estimates):
        estimate, state = estimator.estimate(problem, params, state)
        found.append((estimate, state[0]))
    return found


def test_pairs_of_a_group_share_their_data_and_nothing_else():
    """The losses of a group are those of one start; its directions have consecutive numbers."""
    estimator = unspool.FullES(6, 0.1, pairs_per_group=3)
    (_, workers), *_ = run(estimator, Data(), 1)
    states = np.asarray(workers.trajectories.arms.state)
    assert states.shape == (6, 2)
    assert len(np.unique(states[:, 0])) == len(np.unique(states[:, 1])) == 1
    assert states[0, 0] != states[0, 1]
    numbers = workers.pair_numbers(workers.each.episode)
    assert np.asarray(numbers).T.tolist() == [[6, 7, 8], [9, 10, 11]]


def test_an_estimate_is_the_mean_over_pairs_whatever_their_groups():
    """Without data, groups of two are two workers of the same directions."""
    linear = dataclasses.replace(CUBIC, horizon=6)
    grads = [
        [jax.tree.leaves(estimate.grad) for estimate, _ in run(estimator, linear, 2)]
        for estimator in (
            unspool.FullES(4, 0.1, pairs_per_group=pairs, directions=unspool.GaussianDirections())
            for pairs in (1, 2, 4)
        )
    ]
    np.testing.assert_allclose(grads[1:], [grads[0]] * 2, rtol=1e-9)


def test_a_pair_that_fails_is_left_out_and_its_group_goes_on():
    problem, estimator = Data(bound=0.1), unspool.NRES(60, 2, 0.1, pairs_per_group=3)
    found = run(estimator, problem, 6)
    assert len({int(workers.update) for _, workers in found}) == 6
    for estimate, workers in found:
        failed = np.asarray(workers.failed)
        assert failed.shape == (3, 20)
        # Some groups have lost one pair and go on with the others, whose arms are not done.
        some = failed.any(0) & ~failed.all(0)
        assert some.sum() > 5
        done = np.asarray(workers.trajectories.arms.done)
        assert np.all(done[:3][failed]) and np.all(done[3:][failed])
        at_end = np.asarray(workers.trajectories.clock.t) == 6
        assert np.array_equal(done[:3][~failed], np.broadcast_to(at_end, (3, 20))[~failed])
        assert np.all(np.isfinite(estimate.grad))
    dropped, waiting = (
        [int(estimate.stats[name]) for estimate, _ in found] for name in ("dropped", "waiting")
    )
    # A third of the groups begins an episode in each window, and one arm in three fails.
    assert all(2 < count < 20 for count in dropped) and all(8 < count < 36 for count in waiting)


def test_where_no_pair_of_a_group_is_left_it_waits_for_its_end():
    problem, estimator = Data(bound=-1e9), unspool.NRES(4, 2, 0.1, pairs_per_group=2)
    (estimate, workers), *_ = run(estimator, problem, 1)
    assert np.all(np.isnan(estimate.loss)) and np.all(workers.failed)
    assert estimate.result == unspool.RESULTS.all_workers_dropped


def test_a_group_ends_with_its_slowest_arm():
    """Its time is that of the longest of its episodes, so that the gradient is shorter."""
    params = EARLY.init_params(key=KEY)

    def episodes_per_window(pairs):
        estimator = unspool.NRES(8, 1, 0.1, pairs_per_group=pairs)

        def one(key):
            state = estimator.init(EARLY, params, key=key)
            step = lambda state, _: estimator.estimate(EARLY, params, state)[::-1]
            return jax.lax.scan(step, state, length=60)[1].stats["episodes"]

        episodes = jax.jit(jax.vmap(one))(jax.random.split(KEY, 50))
        return jnp.mean(episodes) * pairs / 8

    begun = [episodes_per_window(pairs) for pairs in (1, 2, 4)]
    assert begun[0] > 1.02 * begun[1] and begun[1] > 1.01 * begun[2], begun
