"""Counts are integers: what is none is refused, and what is too large for a clock."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import problems
from unspool._counts import as_count
from unspool._engine.base import check_horizon
from unspool._estimator.survival import Survival

KEY = jax.random.key(0)
NRES = unspool.NRES(2, 2, 0.1)
CUBIC = problems.Cubic(horizon=4)


def test_integers_of_any_kind_are_counts():
    for value in (3, np.int64(3), np.uint8(3), np.array(3), jnp.array(3)):
        count = as_count("n", value)
        assert count == 3 and type(count) is int


@pytest.mark.parametrize(
    "value",
    [0, -1, 1.5, 2.0, True, np.True_, float("nan"), float("inf"), "3", None, [3], np.ones(2)],
)
def test_all_else_is_not(value):
    with pytest.raises(ValueError, match=r"n must be an integer of at least 1, got .*; .* is \d"):
        as_count("n", value)


def test_the_nearest_legal_value_is_named():
    for value, legal in ((2.6, 3), (-7, 1), (float("nan"), 1), (2**40, 100)):
        with pytest.raises(ValueError, match=f"nearest legal value is {legal}$"):
            as_count("n", value, most=100)
    with pytest.raises(ValueError, match="n must be an integer of at most 100, got 101"):
        as_count("n", 101, most=100)


def unchecked(function, *arguments, **options):
    """Calls a function without the annotations, which the tests check and a program does not."""
    return inspect.unwrap(function)(*arguments, **options)


JOB = (CUBIC, NRES, optax.sgd(0.1))
CALLS = {
    "num_updates": lambda n: unchecked(unspool.train, *JOB, num_updates=n, key=KEY),
    "log_every": lambda n: unchecked(unspool.train, *JOB, num_updates=4, log_every=n, key=KEY),
    "num_episodes": lambda n: unchecked(
        unspool.evaluate, CUBIC, jnp.ones(2), key=KEY, num_episodes=n
    ),
    "num_chains": lambda n: unchecked(
        unspool.check_unbiased, CUBIC, NRES, key=KEY, num_chains=n and 30 + n
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [1.5, float("nan"), True, 0])
def test_every_function_checks_its_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least"):
        CALLS[name](value if value is not True or name != "num_chains" else 1.0)


@pytest.mark.parametrize("name", ["num_updates", "log_every", "checkpoint_every", "resume_from"])
def test_a_run_checks_its_counts_before_it_writes(tmp_path, name):
    run = unspool.Run.create(tmp_path / "run", {})
    options = {"num_updates": 4, "key": KEY, name: 1.5}
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least"):
        list(unchecked(unspool.Run.train, run, *JOB, **options))
    assert not run.checkpoints and not (run.directory / "metrics.jsonl").exists()


def test_what_clocks_of_32_bits_cannot_reach_is_refused():
    with pytest.raises(ValueError, match="horizon must be an integer of at most 2147483647"):
        check_horizon(2**31)
    with pytest.raises(ValueError, match="num_updates must be an integer of at most 2147483647"):
        CALLS["num_updates"](2**31)


def test_training_stops_before_the_numbers_of_episodes_come_again():
    *_, record = unspool.train(*JOB, num_updates=4, key=KEY)
    last = jnp.full(2, 2**31 - 20)
    state = eqx.tree_at(lambda s: s.workers[0].each.episode, record.state, last)
    again = unspool.train(*JOB, num_updates=40, log_every=4, key=KEY, state=state)
    used = []
    with pytest.raises(unspool.TrainingError, match=r"no numbers left.*jax_enable_x64"):
        for record in again:
            used.append(int(jnp.max(record.state.workers[0].each.episode)))
    assert len(used) >= 2 and all(2**31 - 20 < episode < 2**31 for episode in used)


@pytest.mark.parametrize("count", ["episode", "update"])
def test_a_loop_by_hand_notices_that_counts_run_out(count):
    """The last estimates with numbers of their own are as usual; none after them is."""
    problem, largest = problems.LinearQuadratic(horizon=4), 2**31 - 1
    job = problem, NRES, optax.adam(0.1)
    init, step = unspool.make_step(*job)
    state, step = init(problem.init_params(key=KEY), key=KEY), jax.jit(step)
    # Two numbers for each worker, which takes one every other update in turn; or four updates.
    left = jnp.array([largest - 5, largest - 4]) if count == "episode" else jnp.array(largest - 4)
    place = lambda s: s.workers[0].each.episode if count == "episode" else s.workers[0].update
    state = eqx.tree_at(place, state, left)
    usable, episode_ids = [], set(state.workers[0].each.episode.tolist())
    for _ in range(10):
        before, (state, estimate) = state, step(state)
        usable.append(bool(jnp.all(jnp.isfinite(estimate.grad))))
        assert usable[-1] == (estimate.result == unspool.RESULTS.successful)
        assert usable[-1] != (estimate.result == unspool.RESULTS.counts_ran_out)
        # Where it is not usable neither parameters nor optimizer move.
        for name in ("trained", "optimizer"):
            assert usable[-1] != same_bits(getattr(before, name), getattr(state, name))
        episode_ids |= set(state.workers[0].each.episode.tolist())
    assert usable == 4 * [True] + 6 * [False]
    if count == "episode":
        assert {episode for episode in episode_ids if episode >= 0} == {
            largest - n for n in range(6)
        }
        assert bool(jnp.all(state.workers[0].each.episode < 0))
    with pytest.raises(unspool.TrainingError, match="no numbers left"):
        next(unspool.train(*job, num_updates=20, key=KEY, state=state))


def same_bits(*trees):
    first, second = ([np.asarray(x).tobytes() for x in jax.tree.leaves(tree)] for tree in trees)
    return first == second


def test_more_steps_than_an_estimate_can_count_are_refused():
    """The limit is on what all arms of all workers of all problems do."""
    params, window = CUBIC.init_params(key=KEY), 2**20
    most = (2**31 - 1) // (2 * window)
    long = problems.Cubic(horizon=2**21)
    shapes = lambda engine, n: eqx.filter_eval_shape(
        unspool.NRES(n, window, 0.1).init, engine, params, key=KEY
    )
    assert shapes(long, most)[0].each.episode.shape == (most,)
    with pytest.raises(
        ValueError,
        match="at most 2147483647 problem steps, got 2147483648 with "
        f"num_workers={most + 1} and windows of 1048576 .*jax_enable_x64",
    ):
        shapes(long, most + 1)
    with pytest.raises(ValueError, match=f"with num_workers={most}"):
        shapes(unspool.JointProblem([long, long]), most)
    with jax.enable_x64(True):
        assert shapes(long, most + 1)[0].each.episode.shape == (most + 1,)
    # A clock stands at the end of a window, which may be later than that of the episode.
    with pytest.raises(ValueError, match="horizon must be at most 2147483000 with windows of 1000"):
        unspool.NRES(1, 1000, 0.1).init(problems.Cubic(horizon=2**31 - 1), params, key=KEY)


def test_workers_are_counted_beyond_what_float32_counts_by_ones():
    few, many = 3, 2**24 + 8
    failed = jnp.arange(many) < few
    survival = Survival.of(1).observe(jnp.zeros(many, int), jnp.ones((1, many), bool), failed[None])
    assert int(survival.attempted[0]) == many and int(survival.failed[0]) == few


def test_a_long_start_is_announced_before_it_runs(monkeypatch, tmp_path):
    monkeypatch.setattr("unspool._limits._MANY_STEPS", 100)
    problem = problems.Cubic(horizon=400)
    run = unspool.Run.create(tmp_path / "run", {})
    for train in (unspool.train, lambda *job, **options: next(run.train(*job, **options))):
        with pytest.warns(UserWarning, match=r"1.6e\+03 problem steps .* ESSingle none"):
            train(problem, NRES, optax.sgd(0.1), num_updates=2, key=KEY)
    unspool.train(problem, NRES, optax.sgd(0.1), num_updates=2000, key=KEY)
